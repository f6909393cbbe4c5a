use crate::ProcessId;

/// A process that was sampled.
///
/// A PID can be reused, and a process can become another program by exec:
/// whoever fills the profile decides what is one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The process id as the profiler's user sees it.
    pub pid: u32,
    /// What the system calls it, such as `gunicorn`; or the empty string. Its
    /// arguments are no part of it, as they may hold secrets.
    pub name: String,
}

/// A thread that was sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The process it belongs to.
    pub process: ProcessId,
    /// The thread id of the operating system, as the profiler's user sees it.
    pub tid: u32,
    /// Its name, or the empty string; see [`Profile::rename_thread`](crate::Profile::rename_thread).
    pub name: String,
}
