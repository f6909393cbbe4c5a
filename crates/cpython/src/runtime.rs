use std::collections::HashSet;

use firefinch_memory::{Bytes, Memory, Range, ReadError, RemoteAddr};

use crate::find::FoundBy;
use crate::layout::{Field, Layout, MissingField, Version};

/// A CPython runtime found in a process: where it is and how it is laid out.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The interpreter's version.
    pub version: Version,
    /// How it was found.
    pub found_by: FoundBy,
    /// `_PyRuntime`, from 3.7 on.
    pub(crate) address: Option<RemoteAddr>,
    /// The variable that points to the first interpreter.
    pub(crate) head: RemoteAddr,
    /// `_PyThreadState_Current`, to 3.6: the thread that holds the GIL.
    pub(crate) current_thread: Option<RemoteAddr>,
    /// `PyCode_Type`, where a symbol named it.
    pub(crate) code_type: Option<RemoteAddr>,
    pub(crate) layout: Layout,
}

/// One interpreter (`PyInterpreterState`) of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interpreter {
    /// Its address.
    pub addr: RemoteAddr,
    /// Its number from 3.7 on (`PyInterpreterState.id`, in `Include/pystate.h`, 3.8
    /// `internal/pycore_pystate.h`, 3.9 `pycore_interp.h`, 3.14 `pycore_interp_structs.h`):
    /// 0 is the main one.
    pub id: Option<i64>,
}

/// Where the lists of interpreters and threads begin, and what is there.
#[derive(Clone, Debug, Default)]
pub struct ListHeads(Vec<(RemoteAddr, RemoteAddr)>);

/// One thread that has a Python thread state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PythonThread {
    /// Its `PyThreadState`.
    pub state: RemoteAddr,
    /// The interpreter it belongs to.
    pub interpreter: Interpreter,
    /// `threading.get_ident()` (`PyThreadState.thread_id`, `Include/cpython/pystate.h`, to
    /// 3.7 `Include/pystate.h`): the `pthread_t` on Linux, an address in the target.
    pub ident: u64,
    /// The number of the OS thread from 3.11 on (`native_thread_id`, same file), in the
    /// target's own PID namespace.
    pub native_id: Option<u64>,
}

/// More interpreters and threads than any process has; the lists are in the
/// target's memory and may loop.
const MAX_INTERPRETERS: usize = 10_000;
const MAX_THREADS: usize = 200_000;

/// Offsets for walking interpreters and threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadLayout {
    interpreter_next: usize,
    interpreter_id: Option<usize>,
    thread_head: usize,
    next: usize,
    interpreter: usize,
    ident: usize,
    native_id: Option<usize>,
    /// Bytes of a thread state that hold all of the above.
    span: usize,
}

impl ThreadLayout {
    pub(crate) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let next = layout.need(Field::TstateNext)?;
        let interpreter = layout.need(Field::TstateInterp)?;
        let ident = layout.need(Field::TstateThreadId)?;
        let native_id = layout.get(Field::TstateNativeThreadId);
        let last = next.max(interpreter).max(ident).max(native_id.unwrap_or(0));
        Ok(Self {
            interpreter_next: layout.need(Field::InterpNext)?,
            interpreter_id: layout.get(Field::InterpId),
            thread_head: layout.need(Field::InterpTstateHead)?,
            next,
            interpreter,
            ident,
            native_id,
            span: last + 8,
        })
    }
}

impl Runtime {
    /// The layout in use.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where `_PyRuntime` or the list of interpreters was found, for messages.
    pub fn location(&self) -> RemoteAddr {
        self.address.unwrap_or(self.head)
    }

    /// Every interpreter, newest first. The list may change while it is read:
    /// what is returned was linked at the moment it was read.
    ///
    /// # Errors
    /// [`ReadError`] if the list cannot be read at all.
    pub fn interpreters(&self, memory: &dyn Memory) -> Result<Vec<Interpreter>, ReadError> {
        let Ok(layout) = ThreadLayout::new(&self.layout) else {
            return Ok(Vec::new());
        };
        let mut list = Vec::new();
        let mut addr = memory.read_ptr(self.head)?;
        while !addr.is_null() && list.len() < MAX_INTERPRETERS {
            let id = layout
                .interpreter_id
                .and_then(|offset| memory.read_u64(addr.offset(offset as u64)).ok())
                .map(u64::cast_signed);
            let Ok(next) = memory.read_ptr(addr.offset(layout.interpreter_next as u64)) else {
                break;
            };
            list.push(Interpreter { addr, id });
            if list.iter().any(|i| i.addr == next) {
                break;
            }
            addr = next;
        }
        Ok(list)
    }

    /// Every thread state of every interpreter, newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the interpreters cannot be listed.
    pub fn threads(&self, memory: &dyn Memory) -> Result<Vec<PythonThread>, ReadError> {
        let mut list = Vec::new();
        let Ok(layout) = ThreadLayout::new(&self.layout) else {
            return Ok(list);
        };
        let mut bytes = vec![0; layout.span];
        for interpreter in self.interpreters(memory)? {
            let mut seen = HashSet::new();
            let head = interpreter.addr.offset(layout.thread_head as u64);
            let Ok(mut state) = memory.read_ptr(head) else {
                continue;
            };
            // The list is null-terminated; a hostile one may come back on itself.
            while !state.is_null() && list.len() < MAX_THREADS && seen.insert(state) {
                if memory.read(state, &mut bytes).is_err() {
                    break;
                }
                let view = Bytes(&bytes);
                // A state that was freed under us no longer points back.
                if view.ptr(layout.interpreter) != Some(interpreter.addr) {
                    break;
                }
                let Some(ident) = view.u64(layout.ident) else {
                    break;
                };
                list.push(PythonThread {
                    state,
                    interpreter,
                    ident,
                    native_id: layout.native_id.and_then(|offset| view.u64(offset)),
                });
                state = view.ptr(layout.next).unwrap_or_default();
            }
        }
        Ok(list)
    }

    /// Whether the heads of all lists of interpreters and threads are what they
    /// were: one call. New ones are linked at a head (`Python/pystate.c`), so
    /// equal heads mean that none was added.
    pub fn same_heads(&self, memory: &dyn Memory, heads: &ListHeads) -> bool {
        let mut words = vec![[0; 8]; heads.0.len()];
        let mut ranges: Vec<_> = heads
            .0
            .iter()
            .zip(&mut words)
            .map(|((addr, _), word)| Range {
                addr: *addr,
                buf: word.as_mut_slice(),
            })
            .collect();
        let all = memory.read_scattered(&mut ranges) == heads.0.len();
        let mut pairs = heads.0.iter().zip(&words);
        let same = pairs.all(|((_, head), word)| u64::from_le_bytes(*word) == head.get());
        all && same && !heads.0.is_empty()
    }

    /// The heads of all lists of interpreters and threads.
    ///
    /// # Errors
    /// [`ReadError`] if the list of interpreters cannot be read.
    pub fn list_heads(&self, memory: &dyn Memory) -> Result<ListHeads, ReadError> {
        let mut heads = ListHeads::default();
        let Ok(layout) = ThreadLayout::new(&self.layout) else {
            return Ok(heads);
        };
        let mut at = self.head;
        let mut seen = HashSet::new();
        loop {
            let interpreter = memory.read_ptr(at)?;
            heads.0.push((at, interpreter));
            let known = !seen.insert(interpreter);
            if interpreter.is_null() || known || seen.len() >= MAX_INTERPRETERS {
                return Ok(heads);
            }
            let head = interpreter.offset(layout.thread_head as u64);
            heads.0.push((head, memory.read_ptr(head)?));
            at = interpreter.offset(layout.interpreter_next as u64);
        }
    }
}

#[cfg(test)]
impl Runtime {
    /// A runtime that is nowhere, to look at its layout.
    pub(crate) fn for_tests(version: Version, layout: Layout) -> Self {
        Self {
            version,
            found_by: FoundBy::Shape,
            address: None,
            head: RemoteAddr::NULL,
            current_thread: None,
            code_type: None,
            layout,
        }
    }
}

#[cfg(test)]
mod tests {
    use firefinch_memory::Snapshot;

    use super::*;
    use crate::layout::Build;

    /// A list of threads that comes back on itself, at its first thread or a
    /// later one, is read once round.
    #[test]
    fn a_loop_of_threads_is_read_once() {
        let version = Version::released(3, 11, 0);
        let layout = Layout::of(version, Build::Release).unwrap();
        let offsets = ThreadLayout::new(&layout).unwrap();
        let runtime = Runtime {
            head: RemoteAddr::new(0x1000),
            ..Runtime::for_tests(version, layout)
        };
        let interpreter = 0x1_0000_u64;
        let state = |index: usize| 0x10_0000 * (index as u64 + 1);
        for back_to in 0..3 {
            let mut memory = Snapshot::new();
            let mut put = |at: u64, value: u64| {
                memory.insert(RemoteAddr::new(at), value.to_le_bytes().into());
            };
            put(0x1000, interpreter);
            put(interpreter + offsets.interpreter_next as u64, 0);
            put(interpreter + offsets.interpreter_id.unwrap() as u64, 0);
            put(interpreter + offsets.thread_head as u64, state(0));
            for index in 0..3 {
                for at in (0..offsets.span).step_by(8) {
                    put(state(index) + at as u64, 0);
                }
                let next = if index == 2 { back_to } else { index + 1 };
                put(state(index) + offsets.interpreter as u64, interpreter);
                put(state(index) + offsets.next as u64, state(next));
            }
            let threads = runtime.threads(&memory).unwrap();
            let states: Vec<_> = threads.iter().map(|t| t.state.get()).collect();
            assert_eq!(states, [state(0), state(1), state(2)], "back to {back_to}");
        }
    }
}
