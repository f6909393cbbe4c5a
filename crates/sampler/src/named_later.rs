use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use firefinch_native::NameSource;
use firefinch_profile::{Frame, Profile};

use crate::lane::native_frame;
use crate::native::NativePlace;

/// What has become known of machine code since it was recorded without a name.
#[derive(Debug, Default)]
pub struct NamedLater {
    /// By what stood for the name.
    names: HashMap<Arc<str>, Arc<str>>,
    /// By module and the address in it; `None` where several modules of one name
    /// say different things.
    places: HashMap<(Arc<str>, u64), Option<NativePlace>>,
}

impl NamedLater {
    /// What is known now of a place that had no name; it may still have none.
    pub(crate) fn add(&mut self, old: &NativePlace, now: NativePlace) {
        let (Some(before), Some(after)) = (old.symbols.last(), now.symbols.last()) else {
            return;
        };
        if after.source == NameSource::Nothing {
            return;
        }
        let (before, after) = (Arc::clone(&before.name), Arc::clone(&after.name));
        self.names.insert(before, after);
        if let Some(address) = old.address {
            self.place((Arc::clone(&old.module), address), Some(now));
        }
    }

    /// Takes in what is known of another process. Of what is called the same there
    /// and is something else nothing is known.
    pub(crate) fn extend(&mut self, other: Self) {
        for (before, after) in other.names {
            match self.names.entry(before) {
                Entry::Vacant(entry) => {
                    entry.insert(after);
                }
                Entry::Occupied(entry) if *entry.get() != after => {
                    entry.remove();
                }
                Entry::Occupied(_) => {}
            }
        }
        for (key, now) in other.places {
            self.place(key, now);
        }
    }

    fn place(&mut self, key: (Arc<str>, u64), now: Option<NativePlace>) {
        match self.places.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(now);
            }
            Entry::Occupied(mut entry) => {
                let symbols =
                    |place: &Option<NativePlace>| place.as_ref().map(|p| p.symbols.clone());
                if symbols(entry.get()) != symbols(&now) {
                    entry.insert(None);
                }
            }
        }
    }

    /// The names of functions by what stood for them.
    pub fn names(&self) -> &HashMap<Arc<str>, Arc<str>> {
        &self.names
    }

    /// Gives a profile what is known now: the functions of each frame that has kept
    /// its address, with their lines, and of others the name. No frame has an address
    /// any more.
    pub fn tell(&self, profile: &mut Profile) {
        profile.replace_frames(|profile, frame| self.frames(profile, frame));
    }

    fn frames(&self, profile: &mut Profile, frame: Frame) -> Vec<Frame> {
        let module = frame.module.map(|module| Arc::from(profile.string(module)));
        let place = module
            .zip(frame.address)
            .and_then(|key| self.places.get(&key));
        if let Some(Some(place)) = place {
            let functions = (0..place.symbols.len()).rev();
            return functions
                .filter_map(|at| native_frame(place, at, profile))
                .collect();
        }
        let name = self.names.get(profile.string(frame.name));
        let name = name.map_or(frame.name, |name| profile.intern_string(name));
        vec![Frame {
            name,
            address: None,
            ..frame
        }]
    }
}
