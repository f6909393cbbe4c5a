use std::io;

use crate::stat::Stat;
use crate::{AccessError, Process, Step, Tid};

/// Its threads, as the kernel lists them.
impl Process {
    /// Its threads, in the order the kernel lists them: by number as a rule.
    /// Threads that have ended but are not yet reaped are included.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn threads(&self) -> Result<Vec<Tid>, AccessError> {
        let numbers = self.dir.list_numbers("task");
        let numbers = numbers.map_err(|e| AccessError::io(self.pid, Step::ListThreads, &e))?;
        Ok(numbers.into_iter().filter_map(Tid::new).collect())
    }

    /// How many threads it has, ended ones not counted: one call, however many
    /// they are (fs/proc/base.c, `proc_task_getattr`).
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn thread_count(&self) -> Result<usize, AccessError> {
        let error = |e: io::Error| AccessError::io(self.pid, Step::ListThreads, &e);
        let links = self.dir.links("task").map_err(error)?;
        // As of any directory, itself and its parent are counted with them.
        Ok(links.saturating_sub(2))
    }

    /// The thread through which address space, root and working directory are
    /// reached: the first thread, or, where that has ended, one that lives.
    /// (An ended thread has let go of them: kernel/exit.c, `exit_mm`, `exit_fs`.)
    pub(crate) fn image_task(&self) -> Tid {
        let leader = self.pid.leader();
        if self.thread_lives(leader) {
            return leader;
        }
        self.living_thread().unwrap_or(leader)
    }

    pub(super) fn living_thread(&self) -> Option<Tid> {
        let threads = self.threads().ok()?;
        threads.into_iter().find(|tid| self.thread_lives(*tid))
    }

    pub(super) fn thread_lives(&self, tid: Tid) -> bool {
        let stat = self.dir.read(&format!("task/{tid}/stat"));
        let stat = stat.ok().and_then(|text| Stat::parse(&text).ok());
        stat.is_some_and(|stat| !stat.state.is_dead())
    }
}
