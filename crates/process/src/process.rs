use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::maps::{self, strip_deleted};
use crate::namespace::proc_is_foreign;
use crate::procfs::{ProcDir, field};
use crate::stat::Stat;
use crate::{
    AccessError, Errno, Mapping, Module, OpenError, Owner, Pid, ProcessMemory, StartTime, Step,
    Tid, module, sys,
};

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

/// The path of an executable, as the kernel shows it to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExePath {
    /// The path, without the ` (deleted)` mark.
    pub path: PathBuf,
    /// The kernel says the file has been unlinked.
    pub deleted: bool,
}

/// MAX_ARG_STRLEN is 128 KB for one argument; enough for any use here.
const MAX_COMMAND_LINE: u64 = 256 * 1024;

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

    /// Whether any thread of it is still there. A process whose first thread
    /// has ended (a "zombie leader") is alive while others run.
    pub fn is_alive(&self) -> bool {
        !self.wait_exit(Duration::ZERO)
    }

    /// Waits until it has exited, at most `timeout`; whether it has. Never
    /// collects the exit status: that is for its parent.
    pub fn wait_exit(&self, timeout: Duration) -> bool {
        let deadline = std::time::Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(timeout, |d| {
                d.saturating_duration_since(std::time::Instant::now())
            });
            let exited = match &self.pidfd {
                Some(fd) => {
                    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                    // Rounded up, so as not to spin through the last millisecond.
                    let millis = left.as_nanos().div_ceil(1_000_000);
                    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
                    let wait = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
                    matches!(poll(&mut fds, wait), Ok(count) if count > 0)
                }
                None => {
                    let gone = !self.has_living_thread();
                    if !gone {
                        // No pidfd: look every 10 ms.
                        std::thread::sleep(left.min(Duration::from_millis(10)));
                    }
                    gone
                }
            };
            if exited || left.is_zero() {
                return exited;
            }
        }
    }

    /// Whether it has the memory of its parent, as a process has between vfork
    /// and exec: whatever is read there is of the parent. `false` where that
    /// cannot be told.
    pub fn borrows_memory(&self) -> bool {
        let parent = self
            .parent
            .map(|parent| sys::share_memory(self.pid, parent));
        matches!(parent, Some(Ok(true)))
    }

    /// What it was exec'ed from.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted or gone.
    pub fn exe(&self) -> Result<ExePath, AccessError> {
        let link = self.read_link("exe")?;
        let (path, deleted) = strip_deleted(link.as_os_str().as_bytes());
        let path = Path::new(OsStr::from_bytes(path)).to_owned();
        Ok(ExePath { path, deleted })
    }

    /// Its working directory, as the kernel shows it to us.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted or gone.
    pub fn cwd(&self) -> Result<PathBuf, AccessError> {
        self.read_link("cwd")
    }

    /// Its arguments, cut at 256 KB. Empty if it has overwritten them.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn command_line(&self) -> Result<Vec<Vec<u8>>, AccessError> {
        let text = self.dir.read_bounded("cmdline", MAX_COMMAND_LINE);
        let text = text.map_err(|e| AccessError::io(self.pid, Step::ReadCommandLine, &e))?;
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split(|b| *b == 0).map(<[u8]>::to_vec).collect())
    }

    /// Its short name, at most 15 bytes; bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn comm(&self) -> Result<String, AccessError> {
        let text = self.dir.read("comm");
        let text = text.map_err(|e| AccessError::io(self.pid, Step::ReadStat, &e))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// The effective user and group it runs as, as our user namespace counts
    /// them; 65534 for those that have no number there.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn owner(&self) -> Result<Owner, AccessError> {
        let status = self.dir.read("status");
        let status = status.map_err(|e| AccessError::io(self.pid, Step::ReadStat, &e))?;
        Owner::parse(&status).ok_or_else(|| AccessError::new(self.pid, Step::ReadStat, Errno::EIO))
    }

    /// How long ago it started, to 10 ms.
    pub fn age(&self) -> Duration {
        let now = StartTime::now().since_boot();
        now.saturating_sub(self.start_time.since_boot())
    }

    /// Its memory, in the fastest way that is permitted.
    ///
    /// # Errors
    /// [`AccessError`] names the refused step and its likely cause.
    pub fn memory(&self) -> Result<ProcessMemory, AccessError> {
        let task = self.image_task();
        ProcessMemory::open(self, task, &self.maps()?)
    }

    /// Its mappings, in address order.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted; ESRCH if it has no memory any more.
    pub fn maps(&self) -> Result<Vec<Mapping>, AccessError> {
        let error = |e: io::Error| AccessError::io(self.pid, Step::ReadMaps, &e);
        let name = format!("task/{}/maps", self.image_task());
        let file = self.dir.open_file(&name).map_err(error)?;
        let mappings = maps::read(file).map_err(error)?;
        if mappings.is_empty() {
            return Err(AccessError::new(self.pid, Step::ReadMaps, Errno::ESRCH));
        }
        Ok(mappings)
    }

    /// The files mapped into it, in order of their first address.
    ///
    /// # Errors
    /// As [`maps`](Self::maps).
    pub fn modules(&self) -> Result<Vec<Module>, AccessError> {
        Ok(self.modules_of(&self.maps()?))
    }

    /// The same from mappings read before.
    pub fn modules_of(&self, mappings: &[Mapping]) -> Vec<Module> {
        module::group(mappings, self.exe().ok().as_ref())
    }

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

    pub(crate) fn dir(&self) -> &ProcDir {
        &self.dir
    }

    pub(crate) fn shared_dir(&self) -> Arc<ProcDir> {
        Arc::clone(&self.dir)
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

    fn living_thread(&self) -> Option<Tid> {
        let threads = self.threads().ok()?;
        threads.into_iter().find(|tid| self.thread_lives(*tid))
    }

    fn has_living_thread(&self) -> bool {
        self.thread_lives(self.pid.leader()) || self.living_thread().is_some()
    }

    fn thread_lives(&self, tid: Tid) -> bool {
        let stat = self.dir.read(&format!("task/{tid}/stat"));
        let stat = stat.ok().and_then(|text| Stat::parse(&text).ok());
        stat.is_some_and(|stat| !stat.state.is_dead())
    }

    pub(crate) fn read_link(&self, name: &str) -> Result<PathBuf, AccessError> {
        let name = format!("task/{}/{name}", self.image_task());
        let link = self.dir.read_link(&name);
        let link = link.map_err(|e| AccessError::io(self.pid, Step::ReadLink, &e))?;
        Ok(PathBuf::from(link))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Without a pidfd, as before Linux 5.3, the end of a process is noticed as well.
    #[test]
    fn exit_without_pidfd() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let mut process = Process::open(pid).unwrap();
        assert!(process.pidfd().is_some());
        process.pidfd = None;
        assert!(process.is_alive());
        assert!(!process.wait_exit(Duration::from_millis(1)));
        drop(child.stdin.take());
        assert!(process.wait_exit(Duration::from_secs(60)));
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(process.threads().unwrap_err().is_gone());
    }
}
