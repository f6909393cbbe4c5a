use std::sync::Arc;

use firefinch_native::{NameSource, Symbol};
use firefinch_process::Thread;
use hashbrown::HashMap;

use crate::native::{NativePlace, Role};

/// The kernel's part of the stacks of threads that wait.
#[derive(Debug, Default)]
pub(crate) struct KernelStacks {
    wanted: bool,
    /// Why the last one could not be read.
    refused: Option<String>,
    /// A place stands for a whole stack: each once.
    places: HashMap<Vec<String>, Arc<NativePlace>>,
}

/// Different stacks kept; a program waits in some dozens of ways.
const MAX_PLACES: usize = 4096;

impl KernelStacks {
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Why the last one could not be read.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// That of a thread, which stands still for as long as its own stack is
    /// read; `None` if none is wanted, or none can be had.
    pub(crate) fn read(&mut self, thread: &Thread) -> Option<Arc<NativePlace>> {
        if !self.wanted {
            return None;
        }
        let functions = match thread.kernel_stack() {
            Ok(functions) => functions,
            Err(error) => {
                self.refused = Some(error.to_string());
                return None;
            }
        };
        if functions.is_empty() {
            return None;
        }
        if let Some(known) = self.places.get(&functions) {
            return Some(Arc::clone(known));
        }
        if self.places.len() >= MAX_PLACES {
            self.places.clear();
        }
        let place = Arc::new(place(&functions));
        self.places.insert(functions, Arc::clone(&place));
        Some(place)
    }
}

fn place(functions: &[String]) -> NativePlace {
    let symbol = |name: &String| Symbol::named(name.as_str().into(), NameSource::Kernel);
    NativePlace {
        address: None,
        symbols: functions.iter().map(symbol).collect(),
        module: "[kernel]".into(),
        origin: None,
        role: Role::Other,
        roles: vec![Role::Other; functions.len()].into(),
    }
}
