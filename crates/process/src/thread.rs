use std::io;
use std::sync::Arc;
use std::time::Duration;

use firefinch_memory::RemoteAddr;

use crate::kept::KeptFile;
use crate::procfs::ProcDir;
use crate::schedstat::{SchedStat, SchedText};
use crate::stat::{Stat, TaskState};
use crate::{AccessError, Errno, Pid, Process, Step, SyscallNumber, Tid};

/// One thread of a process, with its `/proc` files kept open while descriptors
/// last: a read then costs about a microsecond. It holds up to three of them,
/// one from the start and the others from their first use.
///
/// An open file binds it to this very thread. Where there was none to spare it
/// is bound by its number and process, as far as the kernel does not give the
/// number to another thread of the same process.
#[derive(Debug)]
pub struct Thread {
    pid: Pid,
    tid: Tid,
    dir: Arc<ProcDir>,
    stat: KeptFile,
    schedstat: KeptFile,
    syscall: KeptFile,
}

/// Where a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// The system call; [`SyscallNumber::NONE`] for a page fault and the like.
    pub number: SyscallNumber,
    /// Its six arguments; zeros without a system call.
    pub args: [u64; 6],
    /// The stack pointer in user space; null if the kernel could not tell.
    pub sp: RemoteAddr,
    /// The program counter in user space, just after the system call.
    pub pc: RemoteAddr,
}

/// What the cheap look says: one call, about a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// On a CPU or waiting for one.
    Running,
    /// Waiting, stopped or ended.
    Waiting(Syscall),
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// On a CPU or waiting for one; `/proc` does not tell them apart.
    Running,
    /// Waiting for something.
    Blocked {
        /// In which system call; `None` if we may not know.
        syscall: Option<Syscall>,
        /// State `D`: not even a signal wakes it, nor can it be stopped.
        uninterruptible: bool,
    },
    /// Stopped by a signal or by a tracer.
    Stopped,
    /// Ended.
    Dead,
}

impl Thread {
    /// Binds to the thread of `process` that has this number now.
    ///
    /// # Errors
    /// [`AccessError`] with ENOENT if there is none.
    pub fn open(process: &Process, tid: Tid) -> Result<Self, AccessError> {
        Self::open_in(process.pid(), process.shared_dir(), tid)
    }

    /// The same, by the directory of the process.
    pub(crate) fn open_in(pid: Pid, dir: Arc<ProcDir>, tid: Tid) -> Result<Self, AccessError> {
        let thread = Self {
            pid,
            tid,
            dir,
            stat: KeptFile::default(),
            schedstat: KeptFile::default(),
            syscall: KeptFile::default(),
        };
        // A kernel may keep no figures of scheduling; `stat` is always there.
        if thread
            .read(&thread.schedstat, "schedstat", &mut [0])
            .is_err()
        {
            let read = thread.read(&thread.stat, "stat", &mut [0]);
            read.map_err(|e| thread.error(&e))?;
        }
        Ok(thread)
    }

    /// Its number in our PID namespace.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// The process it belongs to.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its name as it is now, at most 15 bytes; bytes that are no UTF-8 are
    /// replaced. Opens a file each time.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn comm(&self) -> Result<String, AccessError> {
        let text = self.dir.read(&format!("task/{}/comm", self.tid));
        let text = text.map_err(|e| self.error(&e))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// One of its files, whole up to a limit in bytes. Opens it each time.
    pub(crate) fn read_file(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let name = format!("task/{}/{name}", self.tid);
        self.dir.read_bounded(&name, limit)
    }

    /// Its scheduling figures; all zero if the kernel keeps none.
    ///
    /// # Errors
    /// [`AccessError`], ESRCH once it has been reaped.
    pub fn schedstat(&self) -> Result<SchedStat, AccessError> {
        self.sched_text()?.parse().ok_or_else(|| self.bad())
    }

    /// The same as the kernel wrote it.
    pub(crate) fn sched_text(&self) -> Result<SchedText, AccessError> {
        let mut text = SchedText::EMPTY;
        let read = self.read(&self.schedstat, "schedstat", text.buffer());
        read.map_err(|e| self.error(&e))?;
        Ok(text)
    }

    /// Whether it runs, and where it waits if not. Needs the permission to
    /// trace the target.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted or gone.
    pub fn activity(&self) -> Result<Activity, AccessError> {
        // A number and eight times up to 18 digits with blanks.
        let mut buf = [0; 256];
        let text = self.read_text(&self.syscall, "syscall", &mut buf)?;
        parse_syscall(text).ok_or_else(|| self.bad())
    }

    /// The state letter of its `stat`.
    ///
    /// # Errors
    /// [`AccessError`], ESRCH once it has been reaped.
    pub fn state(&self) -> Result<TaskState, AccessError> {
        Ok(self.stat()?.state)
    }

    /// What is used of its `stat`.
    pub(crate) fn stat(&self) -> Result<Stat, AccessError> {
        // A name of 16 bytes, escaped at worst into 64, and 51 numbers.
        let mut buf = [0; 1280];
        let text = self.read_text(&self.stat, "stat", &mut buf)?;
        let stat = Stat::parse(text.as_bytes());
        stat.map_err(|e| AccessError::new(self.pid, Step::ReadThread, e))
    }

    /// What it is doing now. A thread that cannot be read because it is gone
    /// is [`RunState::Dead`]; where its system call may not be read, its
    /// `stat` alone has to do.
    ///
    /// # Errors
    /// [`AccessError`] for anything else.
    pub fn run_state(&self) -> Result<RunState, AccessError> {
        let syscall = match self.activity() {
            Ok(Activity::Running) => return Ok(RunState::Running),
            Ok(Activity::Waiting(syscall)) => Some(syscall),
            Err(error) if error.is_gone() => return Ok(RunState::Dead),
            Err(_) => None,
        };
        let state = match self.state() {
            Err(error) if error.is_gone() => return Ok(RunState::Dead),
            state => state?,
        };
        Ok(match state {
            // It has begun to run between the two looks, or we saw only this one.
            TaskState::Running => RunState::Running,
            TaskState::Stopped | TaskState::Traced => RunState::Stopped,
            TaskState::Zombie | TaskState::Dead => RunState::Dead,
            other => RunState::Blocked {
                syscall,
                uninterruptible: other == TaskState::Uninterruptible,
            },
        })
    }

    fn read(&self, file: &KeptFile, name: &str, buf: &mut [u8]) -> io::Result<usize> {
        let open = || self.dir.open_file(&format!("task/{}/{name}", self.tid));
        file.read(buf, open, || self.still_there())
    }

    /// Another thread may have got the number meanwhile, but not while ours
    /// still answers.
    fn still_there(&self) -> io::Result<()> {
        let files = [&self.schedstat, &self.stat];
        let Some(file) = files.into_iter().find(|file| file.is_open()) else {
            return Ok(());
        };
        let reopen = || Err(io::ErrorKind::NotFound.into());
        file.read(&mut [0], reopen, || Ok(())).map(|_| ())
    }

    fn read_text<'a>(
        &self,
        file: &KeptFile,
        name: &str,
        buf: &'a mut [u8],
    ) -> Result<&'a str, AccessError> {
        let len = self.read(file, name, buf).map_err(|e| self.error(&e))?;
        let text = buf.get(..len).unwrap_or_default();
        std::str::from_utf8(text).map_err(|_| self.bad())
    }

    fn error(&self, error: &io::Error) -> AccessError {
        AccessError::io(self.pid, Step::ReadThread, error)
    }

    fn bad(&self) -> AccessError {
        AccessError::new(self.pid, Step::ReadThread, Errno::EIO)
    }
}

impl Process {
    /// The CPU time all its threads have used. Of a running thread the time
    /// since the last scheduler tick is included.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn cpu_time(&self) -> Result<Duration, AccessError> {
        // The clock's number is the inverted PID and, in the lower bits, 2 for
        // CPUCLOCK_SCHED (include/linux/posix-timers_types.h). The clocks of
        // single threads are closed to other processes (kernel/time/
        // posix-cpu-timers.c, `pid_for_clock`): use `Thread::schedstat`.
        let clock = nix::time::ClockId::from_raw((!self.pid().get() << 3) | 2);
        let time = nix::time::clock_gettime(clock);
        // An ended process has no clock: EINVAL.
        let time = time.map_err(|e| {
            let errno = if e == nix::errno::Errno::EINVAL {
                Errno::ESRCH
            } else {
                Errno::from(e)
            };
            AccessError::new(self.pid(), Step::ReadStat, errno)
        })?;
        Ok(Duration::from(time))
    }
}

/// `running`, or `-1 SP PC`, or number, six arguments, SP and PC
/// (fs/proc/base.c, `proc_pid_syscall`).
fn parse_syscall(text: &str) -> Option<Activity> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    if first == "running" {
        return Some(Activity::Running);
    }
    let number = SyscallNumber::new(first.parse().ok()?);
    let mut next = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let mut args = [0; 6];
    if number.get() >= 0 {
        for arg in &mut args {
            *arg = next()?;
        }
    }
    let (sp, pc) = (RemoteAddr::new(next()?), RemoteAddr::new(next()?));
    Some(Activity::Waiting(Syscall {
        number,
        args,
        sp,
        pc,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three forms of the file are told apart, and anything else is refused.
    #[test]
    fn syscall_files() {
        assert_eq!(parse_syscall("running\n"), Some(Activity::Running));
        let Some(Activity::Waiting(page_fault)) = parse_syscall("-1 0x7ffc 0x55d0\n") else {
            panic!("not waiting");
        };
        assert_eq!(page_fault.number, SyscallNumber::NONE);
        assert_eq!(page_fault.pc, RemoteAddr::new(0x55d0));
        let Some(Activity::Waiting(call)) = parse_syscall("7 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n")
        else {
            panic!("not waiting");
        };
        assert_eq!(call.args, [1, 2, 3, 4, 5, 6]);
        assert_eq!((call.sp.get(), call.pc.get()), (7, 8));
        for bad in [
            "",
            "7",
            "7 0x1 0x2 0x3 0x4 0x5 0x6 0x7",
            "x 0x1 0x2",
            "-1 1 2",
        ] {
            assert_eq!(parse_syscall(bad), None, "{bad:?}");
        }
    }
}
