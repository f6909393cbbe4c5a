use firefinch_cpython::PythonThread;
use firefinch_memory::RemoteAddr;
use firefinch_process::Tid;

use crate::stack::KnownStack;
use crate::state::Activity;

/// A thread of the target: one of the system's, a Python thread state, or both.
/// A thread that runs several interpreters is one of these for each.
#[derive(Debug)]
pub struct TargetThread {
    /// The interpreter's view of it, if it has one.
    pub python: Option<PythonThread>,
    /// The OS thread as we number it, where it could be told.
    pub tid: Option<Tid>,
    /// What the program calls it (`threading.Thread.name`).
    pub name: Option<String>,
    /// What the system calls it, for threads that Python did not start.
    pub(crate) os_name: Option<String>,
    /// Its number among all threads there ever were.
    pub(crate) serial: u64,
    /// Where it is watched.
    pub(crate) watched: Option<usize>,
    pub(crate) activity: Activity,
    pub(crate) stack: KnownStack,
}

impl TargetThread {
    pub(crate) fn new(python: Option<PythonThread>, tid: Option<Tid>, serial: u64) -> Self {
        Self {
            python,
            tid,
            name: None,
            os_name: None,
            serial,
            watched: None,
            activity: Activity::Unknown,
            stack: KnownStack::default(),
        }
    }

    /// What it is known by from one list of threads to the next.
    pub(crate) fn key(&self) -> (Option<RemoteAddr>, Option<Tid>) {
        (self.python.map(|python| python.state), self.tid)
    }

    /// The best name there is: the program's, else the system's, else none.
    pub fn display_name(&self) -> &str {
        let name = self.name.as_deref().or(self.os_name.as_deref());
        name.unwrap_or_default()
    }

    /// What it was doing at the last [`look`](crate::Target::look).
    pub fn activity(&self) -> Activity {
        self.activity
    }

    /// A number that no other thread of this target has or had.
    pub fn serial(&self) -> u64 {
        self.serial
    }
}
