use std::sync::Arc;

use firefinch_cpython::{Build, Layout, Version};
use firefinch_memory::RemoteAddr;
use firefinch_native::{ImageAddress, NameSource, Origin, Symbol, Symbolizer};
use firefinch_process::Process;
use hashbrown::HashMap;

use super::debug_files::debug_places;
use super::jit::JitNames;
use super::machine::ARCH;
use super::map::Map;
use super::role::roles_of;
use super::{NativePlace, Role};
use crate::fold::Shown;
use crate::named_later::NamedLater;

/// The names of addresses of one target, each looked up once.
#[derive(Debug)]
pub(super) struct Names {
    symbolizer: Symbolizer,
    places: HashMap<RemoteAddr, Arc<NativePlace>>,
    jit: JitNames,
    /// Of code that has a name there, which may be another one's next time.
    generated: HashMap<RemoteAddr, (Arc<str>, Arc<NativePlace>)>,
    interpreter: Option<(Origin, Version)>,
    shown: Shown,
    /// Whether addresses without a name are told.
    keep_addresses: bool,
}

/// Named addresses in code made at run time that are kept; a program may make
/// any number of them.
const MAX_GENERATED: usize = 65_536;

/// Addresses in files that are kept; the code of a large program has fewer that calls
/// return to.
const MAX_PLACES: usize = 1 << 18;

impl Names {
    pub(super) fn new() -> Self {
        Self {
            symbolizer: Symbolizer::new(ARCH, debug_places()),
            places: HashMap::new(),
            jit: JitNames::default(),
            generated: HashMap::new(),
            interpreter: None,
            shown: Shown::default(),
            keep_addresses: false,
        }
    }

    /// Has places without a name tell their address.
    pub(super) fn keep_addresses(&mut self, keep: bool) {
        if self.keep_addresses != keep {
            self.keep_addresses = keep;
            self.places.clear();
        }
    }

    /// Where the interpreter's own functions are.
    pub(super) fn set_interpreter(&mut self, found: Option<(Origin, Version)>) {
        if self.interpreter != found {
            self.interpreter = found;
            self.places.clear();
        }
    }

    /// Says what is going to be shown. Of what is not the lines are not looked up.
    pub(super) fn show(&mut self, shown: Shown) {
        if self.shown != shown {
            self.shown = shown;
            self.places.clear();
        }
    }

    /// Other code may be at any address now.
    pub(super) fn forget(&mut self, map: &Map) {
        self.places.clear();
        self.symbolizer
            .drop_unmapped(|origin| map.modules.module(origin).is_some());
    }

    /// Looks for names once more where there were none.
    pub(super) fn name_again(&mut self, map: &Map) -> NamedLater {
        let interpreter = self.interpreter.take();
        let old = std::mem::replace(self, Self::new());
        self.interpreter = interpreter;
        let mut named = NamedLater::default();
        for (addr, place) in old.places {
            if place.is_unnamed() {
                let (now, _) = self.find(addr, map);
                named.add(&place, now);
            }
        }
        named
    }

    /// Why names that are there for code made at run time are not taken.
    pub(super) fn refused(&self) -> Option<&str> {
        self.jit.refused()
    }

    /// What is known of an address in code.
    pub(super) fn place(
        &mut self,
        addr: RemoteAddr,
        map: &Map,
        process: &Process,
    ) -> Arc<NativePlace> {
        if let Some(place) = self.places.get(&addr) {
            return Arc::clone(place);
        }
        if let Some(place) = self.generated(addr, map, process) {
            return place;
        }
        let (place, keep) = self.find(addr, map);
        let place = Arc::new(place);
        if keep {
            if self.places.len() >= MAX_PLACES {
                self.places.clear();
            }
            self.places.insert(addr, Arc::clone(&place));
        }
        place
    }

    /// Code that was made at run time and has a name. It comes and goes without
    /// any mapping's change; while the name is the same it is one place.
    fn generated(
        &mut self,
        addr: RemoteAddr,
        map: &Map,
        process: &Process,
    ) -> Option<Arc<NativePlace>> {
        let located = map.modules.locate(addr)?;
        if located.address.is_some() {
            return None;
        }
        let name = self.jit.find(addr, process)?;
        let known = self.generated.get(&addr);
        if let Some((_, place)) = known.filter(|(known, _)| *known == name) {
            return Some(Arc::clone(place));
        }
        if self.generated.len() >= MAX_GENERATED {
            self.generated.clear();
        }
        let role = Role::generated(&name);
        let place = Arc::new(NativePlace {
            role,
            roles: Box::new([role]),
            symbols: Arc::new([Symbol::named(Arc::clone(&name), NameSource::JitMap)]),
            module: located.module.name().into(),
            origin: Some(located.module.origin().clone()),
            address: None,
        });
        self.generated.insert(addr, (name, Arc::clone(&place)));
        Some(place)
    }

    /// What is known of an address, and whether that is all there will be.
    fn find(&mut self, addr: RemoteAddr, map: &Map) -> (NativePlace, bool) {
        let Some(located) = map.modules.locate(addr) else {
            return (NativePlace::nowhere(), false);
        };
        let module = located.module;
        let objects = map.modules.objects();
        let own = self.interpreter.as_ref();
        let own = own.filter(|(origin, _)| origin == module.origin());
        let version = own.map(|(_, version)| *version);
        let hidden = located.address.filter(|_| self.shown != Shown::All);
        let hidden = hidden.and_then(|address| {
            // Debug information is large, and packed.
            let function = self.symbolizer.function(module, address, objects);
            is_hidden(&function.name, version).then(|| Arc::new([function]) as _)
        });
        let symbols =
            hidden.unwrap_or_else(|| self.symbolizer.resolve(module, located.address, objects));
        let (roles, role) = roles_of(&symbols, version);
        let mut place = NativePlace {
            role,
            roles,
            symbols,
            module: module.name().into(),
            origin: Some(module.origin().clone()),
            address: None,
        };
        if self.keep_addresses && place.is_unnamed() {
            place.address = located.address.map(ImageAddress::get);
        }
        (place, located.address.is_some())
    }
}

/// Whether a function is left out whatever is inlined into it, in the interpreter of
/// a version or elsewhere.
fn is_hidden(function: &str, interpreter: Option<Version>) -> bool {
    let Some(version) = interpreter else {
        return Role::elsewhere(function) == Role::Startup;
    };
    match Role::in_interpreter(function, version) {
        Role::Loop | Role::Startup => true,
        // Unless a loop may be inlined into it, that no more than its name tells of.
        Role::Machinery => loops_say_where(version),
        Role::Other => false,
    }
}

/// Whether an evaluation loop of CPython tells where on the machine stack it is.
fn loops_say_where(version: Version) -> bool {
    let layout = Layout::of(version, Build::Release);
    layout.is_some_and(|layout| layout.has_loops_on_stack())
}

impl NativePlace {
    /// No code is there.
    fn nowhere() -> Self {
        const NAME: &str = "[unknown]";
        Self {
            symbols: Arc::new([Symbol::named(NAME.into(), NameSource::Nothing)]),
            module: NAME.into(),
            origin: None,
            address: None,
            role: Role::Other,
            roles: Box::new([Role::Other]),
        }
    }

    /// Whether none of its functions has a name.
    pub fn is_unnamed(&self) -> bool {
        self.symbols.iter().all(|s| s.source == NameSource::Nothing)
    }
}
