use std::collections::{HashMap, HashSet};

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use crate::runtime::PythonThread;

/// Finds the OS thread behind a Python thread.
///
/// From 3.11 on the thread state says it. Before, only the `pthread_t` is
/// known: on glibc and musl the address of the thread's descriptor, which
/// holds the tid at an offset that depends on the libc. It is found once by
/// looking for the tids that the process is known to have.
#[derive(Clone, Debug, Default)]
pub struct ThreadIds {
    /// Where in the descriptor the tid stands.
    offset: Option<usize>,
    known: HashMap<(RemoteAddr, u64), u64>,
}

/// glibc's `struct pthread` is some 2,300 bytes, with the tid at 720 on both
/// x86_64 and aarch64 at the time of writing; musl's tid is within the first 64.
const DESCRIPTOR: usize = 2_304;

impl ThreadIds {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tids of `threads`, in the target's own PID namespace, where they
    /// can be told; `tids` are those that the process has now.
    pub fn resolve(
        &mut self,
        memory: &dyn Memory,
        threads: &[PythonThread],
        tids: &HashSet<u64>,
    ) -> Vec<Option<u64>> {
        if self.offset.is_none() && threads.iter().any(|t| t.native_id.is_none_or(|id| id == 0)) {
            self.offset = find_offset(memory, threads, tids);
        }
        let living: HashSet<_> = threads.iter().map(|t| (t.state, t.ident)).collect();
        self.known
            .retain(|key, tid| living.contains(key) && tids.contains(tid));
        threads
            .iter()
            .map(|thread| {
                if let Some(id) = thread.native_id.filter(|id| *id != 0) {
                    return Some(id);
                }
                let key = (thread.state, thread.ident);
                if let Some(tid) = self.known.get(&key) {
                    return Some(*tid);
                }
                let at = RemoteAddr::new(thread.ident).offset(self.offset? as u64);
                let tid = u64::from(memory.read_u32(at).ok()?);
                // A descriptor that is gone holds anything.
                if !tids.contains(&tid) {
                    return None;
                }
                self.known.insert(key, tid);
                Some(tid)
            })
            .collect()
    }
}

/// The one place in all descriptors where each holds a tid of its own.
fn find_offset(
    memory: &dyn Memory,
    threads: &[PythonThread],
    tids: &HashSet<u64>,
) -> Option<usize> {
    let descriptors: Vec<_> = threads
        .iter()
        .filter_map(|thread| {
            let mut bytes = vec![0; DESCRIPTOR];
            let addr = RemoteAddr::new(thread.ident);
            memory.read(addr, &mut bytes).ok().map(|()| bytes)
        })
        .collect();
    if descriptors.is_empty() {
        return None;
    }
    (0..DESCRIPTOR).step_by(4).find(|offset| {
        let found: HashSet<_> = descriptors
            .iter()
            .filter_map(|bytes| Bytes(bytes).u32(*offset))
            .map(u64::from)
            .filter(|tid| tids.contains(tid))
            .collect();
        found.len() == descriptors.len()
    })
}
