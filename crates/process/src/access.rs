use std::fmt;
use std::io;

use crate::{Errno, Pid, Step};

/// The likely reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// None of the known reasons fits.
    NotPermitted,
}

/// Something about a process that the kernel would not give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessError {
    /// The process.
    pub pid: Pid,
    /// What was being done.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
    /// The likely reason, when the answer was a refusal.
    pub cause: Option<Cause>,
}

impl AccessError {
    pub(crate) fn new(pid: Pid, step: Step, errno: Errno) -> Self {
        let cause = errno.is_denied().then_some(Cause::NotPermitted);
        Self {
            pid,
            step,
            errno,
            cause,
        }
    }

    pub(crate) fn io(pid: Pid, step: Step, error: &io::Error) -> Self {
        Self::new(pid, step, Errno::from(error))
    }

    /// Whether it failed because the process is gone, not for want of permission.
    pub fn is_gone(&self) -> bool {
        self.errno.is_gone()
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}: {}", self.pid, self.step, self.errno)
    }
}

impl std::error::Error for AccessError {}
