use std::collections::BTreeMap;
use std::sync::Arc;

use crate::procfs::ProcDir;
use crate::{AccessError, Pid, Process, Thread, Tid};

/// The threads of a process that were last asked something, with their files
/// open.
#[derive(Debug)]
pub(crate) struct KnownThreads {
    pid: Pid,
    dir: Arc<ProcDir>,
    threads: BTreeMap<Tid, Thread>,
}

/// As many as may run at a time on most machines; each has two files open.
const MOST: usize = 32;

impl KnownThreads {
    pub(crate) fn of(process: &Process) -> Self {
        Self {
            pid: process.pid(),
            dir: process.shared_dir(),
            threads: BTreeMap::new(),
        }
    }

    pub(crate) fn ask<T>(
        &mut self,
        tid: Tid,
        question: impl Fn(&Thread) -> Result<T, AccessError>,
    ) -> Result<T, AccessError> {
        if let Some(Ok(answer)) = self.threads.get(&tid).map(&question) {
            return Ok(answer);
        }
        // It has ended, and its number may have gone to another one.
        self.threads.remove(&tid);
        let thread = Thread::open_in(self.pid, Arc::clone(&self.dir), tid)?;
        let answer = question(&thread)?;
        if self.threads.len() >= MOST {
            self.threads.clear();
        }
        self.threads.insert(tid, thread);
        Ok(answer)
    }
}
