//! What the program itself calls its threads, and where it imports from.

use std::collections::HashMap;

use firefinch_memory::{Memory, Metered, ReadCost, RemoteAddr};

use crate::layout::Field;
use crate::object::{ObjectError, Objects};
use crate::runtime::{Interpreter, Runtime};

/// Characters of a thread's name.
const MAX_NAME: u32 = 256;
/// Bytes of a directory's path: `PATH_MAX`, four to a character.
const MAX_PATH: usize = 4 * 4096;

/// What finding the names of so many threads may cost. That of each takes two dozen
/// reads, that of the module one for each module before it.
fn max_cost(threads: usize) -> ReadCost {
    let threads = threads as u64;
    ReadCost {
        reads: (64 << 10) + 64 * threads,
        bytes: (64 << 20) + (64 << 10) * threads,
        longest: 32 << 20,
    }
}

impl Runtime {
    /// The names of the threads that `threading` knows in `interpreter`, by
    /// their ident: `threading._active` (`Lib/threading.py`), whose entries are read up to
    /// twice as many as the interpreter has `threads`. Empty when the module is not imported.
    ///
    /// # Errors
    /// [`ObjectError`] if something on the way is not what it should be, as
    /// happens when it changes while it is read.
    pub fn thread_names(
        &self,
        memory: &dyn Memory,
        interpreter: Interpreter,
        threads: usize,
    ) -> Result<HashMap<u64, String>, ObjectError> {
        let memory: &dyn Memory = &Metered::new(memory, max_cost(threads));
        let objects = Objects::new(memory, &self.layout);
        let mut names = HashMap::new();
        let modules = self.interpreter_object(memory, interpreter, Field::InterpModules)?;
        let Some(threading) = objects.dict_get(modules, "threading")? else {
            return Ok(names);
        };
        let namespace = self.layout.need(Field::ModuleMdDict)? as u64;
        let namespace = memory.read_ptr(threading.offset(namespace))?;
        let Some(active) = objects.dict_get(namespace, "_active")? else {
            return Ok(names);
        };
        // Threads that have ended may still be there, not many.
        let most = threads.saturating_mul(2).saturating_add(64);
        for (ident, thread) in objects.dict(active)?.into_iter().take(most) {
            // 2.7 mangles the private name.
            let name = objects.attribute(thread, "_name").ok().flatten();
            let name = match name {
                Some(name) => Some(name),
                None => objects.attribute(thread, "_Thread__name").ok().flatten(),
            };
            if let (Ok(ident), Some(Ok(name))) = (
                objects.unsigned(ident),
                name.map(|n| objects.text_cut(n, MAX_NAME)),
            ) {
                names.insert(ident, name);
            }
        }
        Ok(names)
    }

    /// `sys.path` of `interpreter`, in order.
    ///
    /// # Errors
    /// As [`Runtime::thread_names`].
    pub fn sys_path(
        &self,
        memory: &dyn Memory,
        interpreter: Interpreter,
    ) -> Result<Vec<String>, ObjectError> {
        let objects = Objects::new(memory, &self.layout);
        let sys = self.interpreter_object(memory, interpreter, Field::InterpSysdict)?;
        let Some(path) = objects.dict_get(sys, "path")? else {
            return Ok(Vec::new());
        };
        let items = objects.list(path)?;
        // Entries may be anything; only text is a directory.
        Ok(items
            .into_iter()
            .filter_map(|item| objects.text_within(item, MAX_PATH).ok())
            .collect())
    }

    fn interpreter_object(
        &self,
        memory: &dyn Memory,
        interpreter: Interpreter,
        field: Field,
    ) -> Result<RemoteAddr, ObjectError> {
        let offset = self.layout.need(field)? as u64;
        Ok(memory.read_ptr(interpreter.addr.offset(offset))?)
    }
}
