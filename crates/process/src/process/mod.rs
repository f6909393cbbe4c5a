mod exit;
mod program;
mod threads;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::namespace::proc_is_foreign;
use crate::procfs::{ProcDir, field};
use crate::stat::Stat;
use crate::{AccessError, Errno, OpenError, Pid, StartTime, Step, sys};

pub use program::ExePath;

/// One running process other than (or the same as) ourselves.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    dir: Arc<ProcDir>,
    /// `None` before Linux 5.3, or where a filter forbids it.
    pidfd: Option<OwnedFd>,
    start_time: StartTime,
    parent: Option<Pid>,
}

impl Process {
    /// Binds to the process that has this number now.
    ///
    /// # Errors
    /// [`OpenError`] says what the number belongs to, if not to a process.
    pub fn open(pid: Pid) -> Result<Self, OpenError> {
        let io = |step, errno| OpenError::Io { pid, step, errno };
        let gone = |step, errno: Errno| match errno {
            e if e.is_gone() => OpenError::NoSuchProcess(pid),
            e => io(step, e),
        };
        if proc_is_foreign() {
            return Err(OpenError::ForeignProc(pid));
        }
        let dir = ProcDir::open(&format!("/proc/{pid}")).map_err(|error| {
            let errno = Errno::from(&error);
            if errno.is_gone() && sys::exists(pid) && Path::new("/proc/self").exists() {
                return OpenError::Hidden(pid);
            }
            if sys::exists(pid) {
                return io(Step::OpenProc, errno);
            }
            gone(Step::OpenProc, errno)
        })?;
        let read = |name| {
            dir.read(name)
                .map_err(|error| gone(Step::ReadStat, Errno::from(&error)))
        };
        let status = read("status")?;
        let of: Option<Pid> = field(&status, "Tgid").and_then(|v| v.parse().ok());
        if let Some(of) = of.filter(|of| *of != pid) {
            return Err(OpenError::IsThread { given: pid, of });
        }
        let pidfd = sys::pidfd_open(pid).ok();
        // Read after the pidfd was made, through the handle made before it:
        // if this works, the number was not reused in between.
        let stat = Stat::parse(&read("stat")?).map_err(|e| io(Step::ReadStat, e))?;
        if stat.is_kernel_thread() {
            return Err(OpenError::KernelThread(pid));
        }
        let process = Self {
            pid,
            dir: Arc::new(dir),
            pidfd,
            start_time: stat.start_time,
            parent: stat.parent,
        };
        if stat.state.is_dead() && process.living_thread().is_none() {
            return Err(OpenError::Zombie(pid));
        }
        Ok(process)
    }

    /// Its number in our PID namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it started.
    pub fn start_time(&self) -> StartTime {
        self.start_time
    }

    /// Its parent when it was opened; `None` for the first process of a namespace
    /// and for one whose parent is outside of ours.
    pub fn parent(&self) -> Option<Pid> {
        self.parent
    }

    /// The file descriptor that refers to it, where the kernel gives one
    /// (5.3 and newer): polls readable when the whole process has exited.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// How long ago it started, to 10 ms.
    pub fn age(&self) -> Duration {
        let now = StartTime::now().since_boot();
        now.saturating_sub(self.start_time.since_boot())
    }

    pub(crate) fn dir(&self) -> &ProcDir {
        &self.dir
    }

    pub(crate) fn shared_dir(&self) -> Arc<ProcDir> {
        Arc::clone(&self.dir)
    }

    pub(crate) fn read_link(&self, name: &str) -> Result<PathBuf, AccessError> {
        let name = format!("task/{}/{name}", self.image_task());
        let link = self.dir.read_link(&name);
        let link = link.map_err(|e| AccessError::io(self.pid, Step::ReadLink, &e))?;
        Ok(PathBuf::from(link))
    }
}
