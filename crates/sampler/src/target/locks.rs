use std::time::Duration;

use firefinch_memory::RemoteAddr;

use super::Target;
use crate::python::Python;
use crate::thread::TargetThread;

/// Who holds an interpreter's lock.
impl Target {
    /// Whether stacks say for themselves who holds a lock.
    pub fn stacks_tell_gil(&self) -> bool {
        let python = self.python.as_ref();
        python.is_some_and(|python| python.stacks_tell_gil)
    }

    /// Says whether it matters who held a lock at the very moment of a stack. Native
    /// stacks then tell, for which their threads stand still a little longer.
    pub fn heed_gil(&mut self, matters: bool) {
        if let Some(python) = &mut self.python {
            python.heed_gil(matters);
        }
    }

    /// The same as [`lock_holders`](Self::lock_holders), unless that was found out
    /// less than a millisecond before: at `time`, of a clock that only goes on.
    pub(crate) fn lock_holders_lately(&mut self, time: Duration) {
        if let Some(python) = &mut self.python
            && !python.knows_holders(time)
        {
            python.read_holders(&*self.memory);
        }
    }

    /// Finds out which thread states hold a lock now: one per lock at most.
    pub fn lock_holders(&mut self) -> &[RemoteAddr] {
        let Some(python) = &mut self.python else {
            return &[];
        };
        python.read_holders(&*self.memory);
        &python.holders
    }

    /// Whether there is a lock.
    pub(crate) fn has_locks(&self) -> bool {
        self.python.as_ref().is_some_and(Python::has_locks)
    }

    /// The thread that holds a lock now, if there is one and it is known.
    pub(crate) fn lock_holder(&mut self) -> Option<usize> {
        self.lock_holders();
        let mut threads = self.threads.list().iter();
        threads.position(|thread| self.holds_lock(thread))
    }

    /// Whether the thread held a lock when
    /// [`lock_holders`](Self::lock_holders) were last asked for.
    pub fn holds_lock(&self, thread: &TargetThread) -> bool {
        let holders = self.python.as_ref().map(|python| &python.holders);
        let holds = |thread: &TargetThread| {
            let state = thread.python.map(|python| python.state);
            holders
                .zip(state)
                .is_some_and(|(holders, state)| holders.contains(&state))
        };
        match self.is_native() {
            true => self.threads.of_same(thread).any(holds),
            false => holds(thread),
        }
    }
}
