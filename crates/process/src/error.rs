use std::fmt;
use std::io;

use crate::Pid;

/// A kernel error number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    pub(crate) const ESRCH: Self = Self(libc::ESRCH);
    pub(crate) const EIO: Self = Self(libc::EIO);

    /// The error with this number.
    pub const fn new(raw: i32) -> Self {
        Self(raw)
    }

    /// The number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether the kernel refused for want of permission (EPERM, EACCES).
    pub const fn is_denied(self) -> bool {
        matches!(self.0, libc::EPERM | libc::EACCES)
    }

    /// Whether the process or thread is not there (ESRCH, ENOENT).
    pub const fn is_gone(self) -> bool {
        matches!(self.0, libc::ESRCH | libc::ENOENT)
    }
}

impl From<&io::Error> for Errno {
    /// An error without a number (a short read, bad text) counts as EIO.
    fn from(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::EIO, Self)
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as i32)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", nix::errno::Errno::from_raw(self.0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = nix::errno::Errno::from_raw(self.0);
        write!(f, "{errno:?}, {}", errno.desc())
    }
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Listing `/proc`.
    ListProcesses,
    /// Opening `/proc/PID`.
    OpenProc,
    /// Reading `/proc/PID/stat` or `status`.
    ReadStat,
    /// Opening or reading `/proc/PID/maps`.
    ReadMaps,
    /// Opening `/proc/PID/mem`.
    OpenMem,
    /// Reading memory, by every way there is.
    ReadMemory,
    /// Following `/proc/PID/exe`, `cwd` or `root`.
    ReadLink,
    /// Reading the command line.
    ReadCommandLine,
    /// Listing `/proc/PID/task`.
    ListThreads,
    /// Reading the state of a thread.
    ReadThread,
    /// Stopping a thread by ptrace.
    Ptrace,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListProcesses => "listing processes",
            Self::OpenProc => "opening its /proc directory",
            Self::ReadStat => "reading its /proc status",
            Self::ReadMaps => "reading its memory map",
            Self::OpenMem => "opening its memory",
            Self::ReadMemory => "reading its memory",
            Self::ReadLink => "following a link in its /proc directory",
            Self::ReadCommandLine => "reading its command line",
            Self::ListThreads => "listing its threads",
            Self::ReadThread => "reading the state of a thread",
            Self::Ptrace => "stopping a thread",
        })
    }
}

/// Why a process could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no process with this number in our PID namespace.
    NoSuchProcess(Pid),
    /// It exists, but `/proc` does not show it: mounted with `hidepid`.
    Hidden(Pid),
    /// `/proc` was mounted for another PID namespace than ours, so its
    /// numbers are not those that system calls take.
    ForeignProc(Pid),
    /// It has exited and waits for its parent to collect its status.
    Zombie(Pid),
    /// The number is that of a thread.
    IsThread {
        /// The number given.
        given: Pid,
        /// The process the thread belongs to.
        of: Pid,
    },
    /// It is a thread of the kernel and has no memory of its own.
    KernelThread(Pid),
    /// A system call failed.
    Io {
        /// The process.
        pid: Pid,
        /// What was being done.
        step: Step,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProcess(pid) => write!(f, "there is no process {pid}"),
            Self::Hidden(pid) => write!(f, "process {pid} is hidden: /proc has hidepid set"),
            Self::ForeignProc(pid) => {
                write!(f, "process {pid}: /proc belongs to another PID namespace")
            }
            Self::Zombie(pid) => write!(f, "process {pid} has exited (zombie)"),
            Self::IsThread { given, of } => write!(f, "{given} is a thread of process {of}"),
            Self::KernelThread(pid) => write!(f, "{pid} is a kernel thread"),
            Self::Io { pid, step, errno } => write!(f, "process {pid}: {step}: {errno}"),
        }
    }
}

impl std::error::Error for OpenError {}
