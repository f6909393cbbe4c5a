use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::AddAssign;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use firefinch_memory::{Memory, Range, ReadError, ReadErrorKind, RemoteAddr};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd;
use smallvec::SmallVec;

use crate::{AccessError, Backing, Errno, Mapping, Pid, Process, Step, Tid, sys};

/// How the target's memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `pread` on `/proc/PID/mem`: the faster for one range.
    Mem,
    /// `process_vm_readv`.
    ProcessVmReadv,
}

/// Ranges that are read together, mostly.
const FEW: usize = 8;

/// What reading has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// System calls made.
    pub calls: u64,
    /// Bytes copied.
    pub bytes: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
    }
}

/// The memory of a live process.
///
/// It belongs to the program image that ran when it was opened. After an
/// `execve` the image is gone although the process lives: reads by
/// [`Method::Mem`] then fail with [`ReadErrorKind::Gone`], because the open
/// file holds the old address space, which has no users left
/// (`mem_rw` in fs/proc/base.c returns 0 when `mmget_not_zero` fails; Linux
/// 6.18). `process_vm_readv` looks the process up by number each time and so
/// reads the new image: whoever uses it, scattered reads included, asks
/// [`image_gone`](Self::image_gone) once in a while.
/// [`Process::is_alive`] tells an exec from an exit.
#[derive(Debug)]
pub struct ProcessMemory {
    pid: Pid,
    task: unistd::Pid,
    mem: Option<File>,
    /// Open where `mem` is not, to notice an exec.
    maps: Option<File>,
    method: Method,
    vectored: bool,
    calls: AtomicU64,
    bytes: AtomicU64,
}

/// `process_vm_readv` takes at most UIO_MAXIOV ranges (include/uapi/linux/uio.h).
const MAX_RANGES: usize = 1024;

impl Process {
    /// Its memory, in the fastest way that is permitted.
    ///
    /// # Errors
    /// [`AccessError`] names the refused step and its likely cause.
    pub fn memory(&self) -> Result<ProcessMemory, AccessError> {
        let task = self.image_task();
        ProcessMemory::open(self, task, &self.maps()?)
    }

    /// Whether it has the memory of its parent, as a process has between vfork
    /// and exec: whatever is read there is of the parent. `false` where that
    /// cannot be told.
    pub fn borrows_memory(&self) -> bool {
        let parent = self.parent();
        let shared = parent.map(|parent| sys::share_memory(self.pid(), parent));
        matches!(shared, Some(Ok(true)))
    }
}

impl ProcessMemory {
    /// Opens the memory of `process`, whose address space is reached through
    /// the thread `task`, and tries both ways on one of `mappings`.
    fn open(process: &Process, task: Tid, mappings: &[Mapping]) -> Result<Self, AccessError> {
        let pid = process.pid();
        let name = |file| format!("task/{task}/{file}");
        let (mem, mem_error) = match process.dir().open_file(&name("mem")) {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error)),
        };
        let mut memory = Self {
            pid,
            task: unistd::Pid::from_raw(task.get()),
            mem,
            maps: None,
            method: Method::Mem,
            vectored: true,
            calls: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        let by_mem = memory.probe(Method::Mem, mappings);
        let by_vm = memory.probe(Method::ProcessVmReadv, mappings);
        memory.vectored = by_vm.is_ok();
        memory.calls = AtomicU64::new(0);
        memory.bytes = AtomicU64::new(0);
        match (by_mem, by_vm) {
            (Ok(()), _) => {}
            (Err(_), Ok(())) => {
                memory.method = Method::ProcessVmReadv;
                if memory.mem.is_none() {
                    memory.maps = process.dir().open_file(&name("maps")).ok();
                }
            }
            (Err(_), Err(kind)) => {
                let (step, errno) = match mem_error {
                    Some(error) => (Step::OpenMem, Errno::from(&error)),
                    None => (Step::ReadMemory, errno_of(kind)),
                };
                return Err(AccessError::new(pid, step, errno));
            }
        }
        Ok(memory)
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How single ranges are read.
    pub fn method(&self) -> Method {
        self.method
    }

    /// How several ranges together are read.
    pub fn scattered_method(&self) -> Method {
        if self.vectored {
            Method::ProcessVmReadv
        } else {
            Method::Mem
        }
    }

    /// System calls and bytes since it was opened.
    pub fn cost(&self) -> Cost {
        Cost {
            calls: self.calls.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether the program image is gone, by exec or exit; one cheap call.
    /// `false` if there is no way to know.
    pub fn image_gone(&self) -> bool {
        // Address 0 is never mapped readable: EIO while the image lives, 0
        // bytes once it is gone. One byte of `maps` makes the kernel format
        // one line, or none.
        let Some(file) = self.mem.as_ref().or(self.maps.as_ref()) else {
            return false;
        };
        self.count(1, 0);
        match file.read_at(&mut [0], 0) {
            Ok(count) => count == 0,
            Err(error) => error.raw_os_error() == Some(libc::ESRCH),
        }
    }

    fn count(&self, calls: u64, bytes: usize) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Tries one way on a few mappings that ought to be readable; one success
    /// is enough, as a page behind the end of a file cannot be read.
    fn probe(&self, method: Method, mappings: &[Mapping]) -> Result<(), ReadErrorKind> {
        let mut result = Err(ReadErrorKind::Unmapped);
        let readable = mappings
            .iter()
            .filter(|m| m.perms.read && !matches!(m.backing, Backing::Other(_)));
        for mapping in readable.take(8) {
            result = self.read_by(method, mapping.start, &mut [0; 8]);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn read_by(
        &self,
        method: Method,
        addr: RemoteAddr,
        buf: &mut [u8],
    ) -> Result<(), ReadErrorKind> {
        let mut done = 0;
        // Either call may stop short at a page that is not there; the next
        // one then says why. So this ends after at most one short call each
        // page, and in practice after one or two.
        while let Some(rest) = buf.get_mut(done..).filter(|r| !r.is_empty()) {
            let at = addr.offset(done as u64);
            self.count(1, 0);
            let count = match method {
                Method::Mem => self.pread(at, rest),
                Method::ProcessVmReadv => self.vm_read(at, rest),
            }?;
            done += count;
            self.count(0, count);
        }
        Ok(())
    }

    fn pread(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<usize, ReadErrorKind> {
        let mem = self
            .mem
            .as_ref()
            .ok_or(ReadErrorKind::Denied(libc::EACCES))?;
        // pread takes a signed offset; user memory is below 2^63.
        if i64::try_from(addr.get()).is_err() {
            return Err(ReadErrorKind::Unmapped);
        }
        match mem.read_at(buf, addr.get()) {
            Ok(0) => Err(ReadErrorKind::Gone),
            Ok(count) => Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(kind_of(Errno::from(&error))),
        }
    }

    fn vm_read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<usize, ReadErrorKind> {
        let base = usize::try_from(addr.get()).map_err(|_| ReadErrorKind::Unmapped)?;
        let len = buf.len();
        let remote = [RemoteIoVec { base, len }];
        match process_vm_readv(self.task, &mut [IoSliceMut::new(buf)], &remote) {
            Ok(0) => Err(ReadErrorKind::Unmapped),
            Ok(count) => Ok(count),
            Err(errno) => Err(kind_of(errno.into())),
        }
    }

    /// One call for up to 1,024 ranges; how many leading ones it filled.
    fn vm_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let mut lens: SmallVec<[usize; FEW]> = SmallVec::new();
        let mut remote: SmallVec<[RemoteIoVec; FEW]> = SmallVec::new();
        let mut local: SmallVec<[IoSliceMut<'_>; FEW]> = SmallVec::new();
        for range in ranges.iter_mut() {
            let Ok(base) = usize::try_from(range.addr.get()) else {
                break;
            };
            let len = range.buf.len();
            lens.push(len);
            remote.push(RemoteIoVec { base, len });
            local.push(IoSliceMut::new(range.buf));
        }
        self.count(1, 0);
        let mut got = process_vm_readv(self.task, &mut local, &remote).unwrap_or(0);
        self.count(0, got);
        let filled = lens.iter().take_while(|len| match got.checked_sub(**len) {
            Some(rest) => {
                got = rest;
                true
            }
            None => false,
        });
        filled.count()
    }
}

impl Memory for ProcessMemory {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        self.read_by(self.method, addr, buf)
            .map_err(|kind| ReadError { addr, len, kind })
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let mut done = 0;
        if !self.vectored || ranges.len() == 1 {
            for range in ranges.iter_mut() {
                if self.read(range.addr, range.buf).is_err() {
                    break;
                }
                done += 1;
            }
            return done;
        }
        for chunk in ranges.chunks_mut(MAX_RANGES) {
            let filled = self.vm_scattered(chunk);
            done += filled;
            if filled < chunk.len() {
                break;
            }
        }
        done
    }
}

fn kind_of(errno: Errno) -> ReadErrorKind {
    match errno.raw() {
        libc::ESRCH => ReadErrorKind::Gone,
        libc::EFAULT | libc::EIO => ReadErrorKind::Unmapped,
        raw @ (libc::EPERM | libc::EACCES) => ReadErrorKind::Denied(raw),
        raw => ReadErrorKind::Os(raw),
    }
}

fn errno_of(kind: ReadErrorKind) -> Errno {
    Errno::new(match kind {
        ReadErrorKind::Gone => libc::ESRCH,
        ReadErrorKind::Denied(raw) | ReadErrorKind::Os(raw) => raw,
        ReadErrorKind::Unmapped | ReadErrorKind::TooLong => libc::EFAULT,
    })
}
