use std::fmt;
use std::io;

use crate::{Cause, Diagnosis, Errno, Pid, Step};

/// Something about a process that the kernel would not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError {
    /// The process.
    pub pid: Pid,
    /// What was being done.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
}

impl AccessError {
    pub(crate) fn new(pid: Pid, step: Step, errno: Errno) -> Self {
        Self { pid, step, errno }
    }

    pub(crate) fn io(pid: Pid, step: Step, error: &io::Error) -> Self {
        Self::new(pid, step, Errno::from(error))
    }

    /// Whether it failed because the process is gone, not for want of permission.
    pub fn is_gone(&self) -> bool {
        self.errno.is_gone()
    }

    /// Finds out why it was refused, by trying what is allowed and what is
    /// not; some 100 µs. `None` if it was not a refusal, or all is permitted
    /// by now.
    pub fn diagnose(&self) -> Option<Diagnosis> {
        if !self.errno.is_denied() {
            return None;
        }
        let mut diagnosis = Diagnosis::of(self.pid);
        // The probes pass and yet this was refused: no known reason.
        diagnosis.cause.get_or_insert(Cause::NotPermitted);
        Some(diagnosis)
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}: {}", self.pid, self.step, self.errno)
    }
}

impl std::error::Error for AccessError {}
