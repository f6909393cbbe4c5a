use firefinch_cpython::Gil;
use firefinch_memory::RemoteAddr;
use firefinch_process::{Activity as OsActivity, Look, Syscall, SyscallNumber};

/// What a thread was doing when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// On a processor, or ready to be.
    Running,
    /// Waiting for the interpreter's lock.
    WaitingForGil,
    /// Waiting, stopped or ended, in this system call.
    Waiting(SyscallNumber),
    /// The OS thread has ended.
    Ended,
    /// Nothing could be learned of the OS thread.
    Unknown,
}

/// Its first argument is the address waited at (futex(2)).
const FUTEX: &str = "futex";

impl Activity {
    /// From what the kernel says of the thread and where its lock is.
    pub(crate) fn of(look: &Look, gil: Option<&Gil>) -> Self {
        match look {
            Look::At(OsActivity::Running) => Self::Running,
            Look::At(OsActivity::Waiting(syscall)) if waits_for(syscall, gil) => {
                Self::WaitingForGil
            }
            Look::At(OsActivity::Waiting(syscall)) => Self::Waiting(syscall.number),
            Look::Gone => Self::Ended,
            Look::Unknown => Self::Unknown,
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
