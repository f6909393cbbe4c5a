use std::collections::{HashMap, HashSet};

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use crate::layout::Field;
use crate::runtime::{PythonThread, Runtime};

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
    /// Thread states say truly which thread runs them.
    trusted: bool,
    known: HashMap<(RemoteAddr, u64), u64>,
}

/// glibc's `struct pthread` is some 2,300 bytes, with the tid at 720 on both
/// x86_64 and aarch64 at the time of writing; musl's tid is within the first 64.
const DESCRIPTOR: usize = 2_304;

impl ThreadIds {
    /// Nothing known yet of this runtime's threads.
    pub fn new(runtime: &Runtime) -> Self {
        Self {
            // Since 3.13 a thread state is bound anew by whoever runs it, and
            // one thread may truly run several (`Python/pystate.c`).
            trusted: runtime.layout().get(Field::TstateCurrentFrame).is_some(),
            ..Self::default()
        }
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
        let mut found: Vec<_> = threads
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
            .collect();
        if !self.trusted {
            disown(threads, &mut found);
        }
        found
    }
}

/// One OS thread runs one Python thread. Before 3.13 the first thread state of
/// a subinterpreter keeps the ids of the thread that made it, whoever runs it
/// (`Python/pystate.c`), so of several that claim a thread only the one in
/// the main interpreter is believed; of the others nothing is known.
fn disown(threads: &[PythonThread], found: &mut [Option<u64>]) {
    let mut owners: HashMap<u64, usize> = HashMap::new();
    // The main interpreter was linked first, and so is last.
    for (index, _) in threads.iter().enumerate().rev() {
        let Some(Some(tid)) = found.get(index) else {
            continue;
        };
        if owners.contains_key(tid) {
            found[index] = None;
        } else {
            owners.insert(*tid, index);
        }
    }
}

/// The one place in all descriptors where each holds a tid of its own. In a forked
/// process those of the parent's other threads are left over, and the thread
/// states too to 2.7: then each tid has to be in one of them.
fn find_offset(
    memory: &dyn Memory,
    threads: &[PythonThread],
    tids: &HashSet<u64>,
) -> Option<usize> {
    let idents: HashSet<_> = threads.iter().map(|thread| thread.ident).collect();
    let descriptors: Vec<_> = idents
        .into_iter()
        .filter_map(|ident| {
            let mut bytes = vec![0; DESCRIPTOR];
            let addr = RemoteAddr::new(ident);
            memory.read(addr, &mut bytes).ok().map(|()| bytes)
        })
        .collect();
    if descriptors.is_empty() {
        return None;
    }
    (0..DESCRIPTOR).step_by(4).find(|offset| {
        let found: Vec<_> = descriptors
            .iter()
            .filter_map(|bytes| Bytes(bytes).u32(*offset))
            .map(u64::from)
            .filter(|tid| tids.contains(tid))
            .collect();
        let different: HashSet<_> = found.iter().collect();
        let most = descriptors.len().min(tids.len());
        most > 0 && found.len() == most && different.len() == most
    })
}

#[cfg(test)]
mod tests {
    use firefinch_memory::Snapshot;

    use super::*;
    use crate::runtime::Interpreter;

    fn thread(ident: u64, interpreter: i64) -> PythonThread {
        PythonThread {
            state: RemoteAddr::new(ident * 3),
            interpreter: Interpreter {
                addr: RemoteAddr::new(0x9000),
                id: Some(interpreter),
            },
            ident,
            native_id: None,
        }
    }

    /// In a forked process, where threads of the parent are left over that do not exist, the one that does is found.
    #[test]
    fn left_over_descriptors() {
        let mut snapshot = Snapshot::new();
        for (addr, tid) in [(0x1_0000, 700_u32), (0x2_0000, 901), (0x3_0000, 702)] {
            let mut bytes = vec![0; DESCRIPTOR];
            bytes[16..20].copy_from_slice(&901_u32.to_le_bytes());
            bytes[720..724].copy_from_slice(&tid.to_le_bytes());
            snapshot.insert(RemoteAddr::new(addr), bytes);
        }
        let threads = [0x1_0000, 0x2_0000, 0x3_0000].map(|ident| thread(ident, 0));
        let mut ids = ThreadIds::default();
        let found = ids.resolve(&snapshot, &threads, &HashSet::from([901]));
        assert_eq!(found, [None, Some(901), None]);
    }

    /// The offset is the one at which every descriptor holds a tid of its own,
    /// and a thread state that repeats another's ident gets no thread.
    #[test]
    fn tids_are_found_in_descriptors() {
        let mut snapshot = Snapshot::new();
        for (addr, tid) in [(0x1_0000, 700_u32), (0x2_0000, 701)] {
            let mut bytes = vec![0; DESCRIPTOR];
            // A process id, the same in all, and a stray number come first.
            bytes[16..20].copy_from_slice(&700_u32.to_le_bytes());
            bytes[720..724].copy_from_slice(&tid.to_le_bytes());
            snapshot.insert(RemoteAddr::new(addr), bytes);
        }
        // Newest first: a subinterpreter's thread made by the main thread.
        let threads = [
            thread(0x1_0000, 1),
            thread(0x2_0000, 0),
            thread(0x1_0000, 0),
        ];
        let tids = HashSet::from([700, 701]);
        let found = ThreadIds::default().resolve(&snapshot, &threads, &tids);
        assert_eq!(found, [None, Some(701), Some(700)]);
    }
}
