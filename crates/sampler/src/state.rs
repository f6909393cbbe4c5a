use firefinch_cpython::Gil;
use firefinch_memory::RemoteAddr;
use firefinch_process::{Activity as Look, Syscall, SyscallNumber};

/// What a thread was doing when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// On a processor, or ready to be.
    Running,
    /// Waiting for the interpreter's lock.
    WaitingForGil,
    /// Waiting, stopped or ended, in this system call.
    Waiting(SyscallNumber),
    /// Nothing could be learned of the OS thread.
    Unknown,
}

/// Its first argument is the address waited at (futex(2)).
const FUTEX: &str = "futex";

impl Activity {
    /// From what the kernel says of the thread and where its lock is.
    pub(crate) fn of(look: &Look, gil: Option<&Gil>) -> Self {
        match look {
            Look::Running => Self::Running,
            Look::Waiting(syscall) if waits_for(syscall, gil) => Self::WaitingForGil,
            Look::Waiting(syscall) => Self::Waiting(syscall.number),
        }
    }

    /// Whether a profile of what costs time has this thread in it: it ran, or
    /// nobody can say that it did not.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Unknown)
    }
}

fn waits_for(syscall: &Syscall, gil: Option<&Gil>) -> bool {
    let [at, ..] = syscall.args;
    gil.is_some_and(|gil| gil.contains(RemoteAddr::new(at))) && syscall.number.name() == Some(FUTEX)
}
