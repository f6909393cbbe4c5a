use std::collections::HashMap;

use crate::procfs::{ProcDir, field};
use crate::{AccessError, Errno, NsTid, Process, Step, Tid};

/// The threads of a process under both of their numbers.
///
/// CPython stores what `gettid()` says inside the target, which is another
/// number than ours if the target lives in a PID namespace of its own.
///
/// A number that is used for another thread between two refreshes keeps its
/// old meaning; the kernel hands numbers out in turn, 32,768 or four million
/// of them, before it begins anew.
#[derive(Clone, Debug, Default)]
pub struct ThreadIds {
    by_tid: HashMap<Tid, NsTid>,
    by_ns: HashMap<NsTid, Tid>,
}

impl ThreadIds {
    /// The number in our namespace of the thread that calls itself `id`.
    pub fn tid(&self, id: NsTid) -> Option<Tid> {
        self.by_ns.get(&id).copied()
    }

    /// What the thread calls itself.
    pub fn ns_tid(&self, tid: Tid) -> Option<NsTid> {
        self.by_tid.get(&tid).copied()
    }

    /// All threads, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (Tid, NsTid)> + '_ {
        self.by_tid.iter().map(|(tid, ns)| (*tid, *ns))
    }

    /// The number of threads.
    pub fn len(&self) -> usize {
        self.by_tid.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_tid.is_empty()
    }

    /// Brings it up to date: threads that have ended go, new ones are read.
    /// Costs one listing, and one file for each new thread of a process in
    /// another PID namespace.
    ///
    /// # Errors
    /// [`AccessError`] if the process is gone. A single thread that ends
    /// meanwhile is left out.
    pub fn refresh(&mut self, process: &Process) -> Result<(), AccessError> {
        let threads = process.threads()?;
        // All threads of a process share its PID namespace: `clone` refuses
        // CLONE_THREAD into another one (kernel/fork.c, `copy_process`).
        let other_namespace = process.ns_pid_depth()? > 1;
        let mut new = Self::default();
        for tid in threads {
            let known = self.by_tid.get(&tid).copied();
            let ns = match known {
                Some(ns) => Some(ns),
                None if other_namespace => match process.ns_tid(tid) {
                    Err(error) if error.is_gone() => None,
                    ns => Some(ns?),
                },
                None => NsTid::new(tid.get()),
            };
            if let Some(ns) = ns {
                new.by_tid.insert(tid, ns);
                new.by_ns.insert(ns, tid);
            }
        }
        *self = new;
        Ok(())
    }
}

impl Process {
    /// What a thread calls itself: the last column of `NSpid` in its `status`.
    ///
    /// # Errors
    /// [`AccessError`] if the thread is gone.
    pub fn ns_tid(&self, tid: Tid) -> Result<NsTid, AccessError> {
        let status = self.dir().read(&format!("task/{tid}/status"));
        let status = status.map_err(|e| AccessError::io(self.pid(), Step::ReadThread, &e))?;
        let columns = field(&status, "NSpid");
        // Before Linux 4.1 there is no such line; take the number as it is.
        let last = match columns {
            Some(columns) => columns.split_ascii_whitespace().next_back(),
            None => return NsTid::new(tid.get()).ok_or_else(|| self.bad_status()),
        };
        let ns = last.and_then(|text| text.parse().ok());
        ns.ok_or_else(|| self.bad_status())
    }

    /// All its threads under both numbers.
    ///
    /// # Errors
    /// As [`ThreadIds::refresh`].
    pub fn thread_ids(&self) -> Result<ThreadIds, AccessError> {
        let mut ids = ThreadIds::default();
        ids.refresh(self)?;
        Ok(ids)
    }

    /// How many PID namespaces deep it lives, ours counted as one.
    fn ns_pid_depth(&self) -> Result<usize, AccessError> {
        let status = self.dir().read("status");
        let status = status.map_err(|e| AccessError::io(self.pid(), Step::ReadStat, &e))?;
        let columns = field(&status, "NSpid");
        Ok(columns.map_or(1, |c| c.split_ascii_whitespace().count()))
    }

    fn bad_status(&self) -> AccessError {
        AccessError::new(self.pid(), Step::ReadStat, Errno::EIO)
    }
}

pub(crate) fn own_namespace(kind: &str) -> u64 {
    let link = ProcDir::open("/proc/self").and_then(|dir| dir.read_link(&format!("ns/{kind}")));
    // Zero is no namespace's inode, so it equals none.
    link.ok()
        .and_then(|l| inode_of(&l.to_string_lossy()))
        .unwrap_or(0)
}

/// `kind:[4026531836]` (fs/nsfs.c, `ns_get_name`).
fn inode_of(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// Whether `/proc` was mounted for another PID namespace than ours, as when a
/// container is given the host's: its numbers then mean nothing to system calls.
pub(crate) fn proc_is_foreign() -> bool {
    let own = std::process::id();
    match std::fs::read_link("/proc/self") {
        Ok(link) => link.to_str().and_then(|text| text.parse().ok()) != Some(own),
        // It does not even know us; unless it is not mounted at all.
        Err(_) => std::path::Path::new("/proc/stat").exists(),
    }
}
