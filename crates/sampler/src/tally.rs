use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use firefinch_profile::Losses;

use crate::merged::MergedFrame;
use crate::native::{Origin, Quality};

/// How good native stacks were, and how they went together with Python's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The native stacks themselves.
    pub quality: Quality,
    /// Stacks in which each Python frame has its place among native ones, or
    /// that have none.
    pub whole: u64,
    /// Stacks in which some do not.
    pub partial: u64,
    /// Python stacks without their native frames, and why these could not be had.
    pub alone: Losses,
    /// Native frames that were shown.
    pub shown: u64,
    /// … that have no name, by the object that they are in and its name.
    pub unnamed: BTreeMap<Origin, (Arc<str>, u64)>,
    /// The same by what stands for the function's name.
    functions: HashMap<Arc<str>, (Origin, u64)>,
}

impl Tally {
    /// Counts a merged stack.
    pub(crate) fn count(&mut self, frames: &[MergedFrame], partial: bool) {
        match partial {
            true => self.partial += 1,
            false => self.whole += 1,
        }
        for frame in frames {
            // The function that was called is there however many were inlined.
            let place = match frame {
                MergedFrame::Native(place, at) if at + 1 == place.symbols.len() => place,
                _ => continue,
            };
            self.shown += 1;
            if let Some(origin) = place.origin.as_ref().filter(|_| place.is_unnamed()) {
                let unnamed = self.unnamed.get_mut(origin);
                match unnamed {
                    Some((_, count)) => *count += 1,
                    None => {
                        let first = (Arc::clone(&place.module), 1);
                        self.unnamed.insert(origin.clone(), first);
                    }
                }
                let Some(function) = place.symbols.last() else {
                    continue;
                };
                match self.functions.get_mut(&function.name) {
                    Some((_, count)) => *count += 1,
                    None => {
                        let first = (origin.clone(), 1);
                        self.functions.insert(Arc::clone(&function.name), first);
                    }
                }
            }
        }
    }

    /// Takes in what was counted of another process.
    pub(crate) fn add(&mut self, other: &Self) {
        self.quality += &other.quality;
        self.whole += other.whole;
        self.partial += other.partial;
        for (reason, count) in other.alone.by_count() {
            self.alone.add(reason, count);
        }
        self.shown += other.shown;
        for (origin, (name, count)) in &other.unnamed {
            let first = || (Arc::clone(name), 0);
            self.unnamed.entry(origin.clone()).or_insert_with(first).1 += count;
        }
        for (function, (origin, count)) in &other.functions {
            let first = || (origin.clone(), 0);
            let function = Arc::clone(function);
            self.functions.entry(function).or_insert_with(first).1 += count;
        }
    }

    /// Some have a name now, by what stood for it.
    pub(crate) fn rename(&mut self, names: &HashMap<Arc<str>, Arc<str>>) {
        for old in names.keys() {
            let Some((origin, count)) = self.functions.remove(old) else {
                continue;
            };
            if let Some((_, left)) = self.unnamed.get_mut(&origin) {
                *left = left.saturating_sub(count);
                if *left == 0 {
                    self.unnamed.remove(&origin);
                }
            }
        }
    }
}
