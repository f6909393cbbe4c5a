//! A program to be looked at from outside. It writes one line with the
//! addresses of its counters and its pattern, then obeys the lines it reads:
//!
//! - `spin N`: N more threads that count, each in a counter of its own
//! - `end N`: tells counting thread N to return
//! - `churn`: one more thread that starts short-lived threads for ever
//! - `wait`: one more thread that waits to read from a pipe that stays empty
//! - `block`: more threads that wait in system calls which an interruption ends
//!   with EINTR, again and again; the returns are counted in counter 61
//! - `catch`: from now on counts each SIGRTMIN in counter 62, but not by the
//!   first thread
//! - `poise`: one more thread that stays at one instruction for ever (x86_64)
//! - `vfork FIFO`: one more thread that starts a child, which waits for a
//!   writer of the FIFO while the thread waits inside `vfork`
//! - `leave`: the first thread ends, alone; the others run on
//! - `exec PROGRAM [ARG]`: replaces itself
//! - `pass`: does nothing
//!
//! - `map HEX`: maps the file whose path has these bytes, in hexadecimal
//! - `close`: makes itself not dumpable
//!
//! Each is answered by a line once done, `leave` and `exec` excepted. It ends
//! with its standard input.
//!
//! Started as `diagnose PID` it only writes what it may do with that process.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use firefinch_process::{Diagnosis, Process};

/// What a reader must find, at the address that is written first.
static PATTERN: [u64; 4096] = pattern();

const fn pattern() -> [u64; 4096] {
    let mut words = [0; 4096];
    let mut i = 0;
    while i < words.len() {
        words[i] = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        i += 1;
    }
    words
}

static COUNTERS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
static END: [AtomicBool; 64] = [const { AtomicBool::new(false) }; 64];

fn spin(index: usize) {
    while !END[index].load(Ordering::Relaxed) {
        COUNTERS[index].fetch_add(1, Ordering::Relaxed);
    }
}

fn churn() {
    loop {
        // A machine that has no thread left for us is no reason to end.
        if let Ok(thread) = thread::Builder::new().spawn(|| {}) {
            let _ = thread.join();
        }
        COUNTERS[63].fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls a system call that returns when it is interrupted, and only then.
fn block(name: &str, call: impl Fn() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder.spawn(move || {
        loop {
            call();
            COUNTERS[61].fetch_add(1, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

/// An hour.
const LONG: libc::timespec = libc::timespec {
    tv_sec: 3600,
    tv_nsec: 0,
};

fn block_all() -> io::Result<()> {
    // SAFETY: takes an integer.
    let epoll = unsafe { libc::epoll_create1(0) };
    block("epoll_wait", move || {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for the one event.
        unsafe { libc::epoll_wait(epoll, &mut event, 1, -1) };
    })?;
    let (socket, other) = std::os::unix::net::UnixStream::pair()?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(3600)))?;
    block("recv", move || {
        let _open = &other;
        let _ = io::Read::read(&mut &socket, &mut [0]);
    })?;
    block("sigtimedwait", || {
        // SAFETY: a signal set is made of integers, and is made empty first.
        // All pointers are to values that outlive the calls.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR2);
            libc::sigtimedwait(&set, std::ptr::null_mut(), &LONG);
        }
    })?;
    // Semaphores outlive the processes that made them, unless they are in a
    // namespace that ends with them.
    // SAFETY: takes an integer, and concerns the calling thread only.
    if unsafe { libc::unshare(libc::CLONE_NEWIPC) } == 0 {
        // SAFETY: takes integers.
        let semaphores = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
        block("semop", move || {
            let mut down = libc::sembuf {
                sem_num: 0,
                sem_op: -1,
                sem_flg: 0,
            };
            // SAFETY: there is one operation.
            unsafe { libc::semop(semaphores, &mut down, 1) };
        })?;
    }
    Ok(())
}

extern "C" fn caught(_: libc::c_int) {
    COUNTERS[62].fetch_add(1, Ordering::Relaxed);
}

fn catch() {
    let handler = caught as extern "C" fn(libc::c_int);
    // SAFETY: the action is valid when made of zeros, and its handler does
    // nothing but count in an atomic; the pointers are to values that outlive
    // the calls.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGRTMIN());
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGRTMIN(), &action, std::ptr::null_mut());
    }
}

/// Jumps to itself, with a different value in each of some registers.
#[cfg(target_arch = "x86_64")]
fn poise() {
    // SAFETY: never comes back, and writes to the counter only.
    unsafe {
        std::arch::asm!(
            "mov r8, 0x1808", "mov r9, 0x1909", "mov r10, 0x1a0a", "mov r11, 0x1b0b",
            "mov r12, 0x1c0c", "mov r13, 0x1d0d", "mov r14, 0x1e0e", "mov r15, 0x1f0f",
            "inc qword ptr [rdi]", "2:", "jmp 2b",
            in("rdi") COUNTERS[60].as_ptr(), options(noreturn)
        );
    }
}

/// Maps the first page of a file, for good.
fn map(hex: &str) -> io::Result<()> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let path: Option<Vec<u8>> = digits.map(byte).collect();
    let path = OsString::from_vec(path.ok_or(io::ErrorKind::InvalidInput)?);
    let file = File::open(path)?;
    let (null, fd) = (std::ptr::null_mut(), file.as_raw_fd());
    // SAFETY: the kernel chooses where, so nothing is mapped over, and nobody
    // looks at what is there.
    let at = unsafe { libc::mmap(null, 4096, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Starts `true` with its standard input from a FIFO. The C library starts
/// children as `vfork` does: the calling thread waits until the child has
/// opened its files and called exec.
fn vfork(fifo: &CStr) {
    let path = c"/bin/true";
    let mut argv = [path.as_ptr().cast_mut(), std::ptr::null_mut()];
    let environment = [std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: all pointers are to values that outlive the calls, strings and
    // arrays end as they must, and the actions are used between their
    // initialization and destruction only.
    unsafe {
        let mut actions = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&mut actions);
        libc::posix_spawn_file_actions_addopen(&mut actions, 0, fifo.as_ptr(), libc::O_RDONLY, 0);
        libc::posix_spawn(
            &mut pid,
            path.as_ptr(),
            &actions,
            std::ptr::null(),
            argv.as_mut_ptr(),
            environment.as_ptr(),
        );
        libc::posix_spawn_file_actions_destroy(&mut actions);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}

fn diagnose(pid: &str) -> io::Result<()> {
    let pid = pid.parse().map_err(io::Error::other)?;
    let diagnosis = Diagnosis::of(pid);
    let mut out = io::stdout();
    writeln!(out, "{:?}", diagnosis.cause)?;
    let process = Process::open(pid).map_err(io::Error::other)?;
    match process.memory() {
        Ok(memory) => writeln!(out, "{:?}", memory.method()),
        Err(error) => writeln!(out, "{error}"),
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, pid] = &arguments[..]
        && command == "diagnose"
    {
        return diagnose(pid);
    }
    let mut out = io::stdout();
    let (pattern, counters) = (&raw const PATTERN, &raw const COUNTERS);
    writeln!(out, "{} {}", pattern.addr(), counters.addr())?;
    let mut workers = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let argument = words.next().unwrap_or_default();
        let number = || argument.parse::<usize>().map_err(io::Error::other);
        match command {
            "spin" => {
                for _ in 0..number()? {
                    let index = workers.len();
                    let name = format!("spin-{index}");
                    let builder = thread::Builder::new().name(name);
                    workers.push(Some(builder.spawn(move || spin(index))?));
                    while COUNTERS[index].load(Ordering::Relaxed) == 0 {
                        thread::yield_now();
                    }
                }
            }
            "end" => {
                let index = number()?;
                END[index].store(true, Ordering::Relaxed);
                if let Some(worker) = workers[index].take() {
                    let _ = worker.join();
                }
            }
            "churn" => drop(thread::spawn(churn)),
            "wait" => {
                let (reader, writer) = io::pipe()?;
                thread::Builder::new()
                    .name("waiter) S 1".to_owned())
                    .spawn(move || {
                        let _writer = writer;
                        let mut byte = [0];
                        let _ = io::Read::read(&mut &reader, &mut byte);
                    })?;
            }
            "block" => block_all()?,
            "catch" => catch(),
            #[cfg(target_arch = "x86_64")]
            "poise" => {
                drop(thread::spawn(poise));
                while COUNTERS[60].load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
            }
            "vfork" => {
                let fifo = CString::new(argument).map_err(io::Error::other)?;
                thread::Builder::new()
                    .name("vforker".to_owned())
                    .spawn(move || vfork(&fifo))?;
            }
            "leave" => {
                // SAFETY: ends the calling thread only and never returns, so
                // nothing of this thread is used afterwards.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
            "pass" => {}
            "map" => map(argument)?,
            "close" => {
                // SAFETY: takes integers only.
                unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
            }
            "exec" => return Err(Command::new(argument).args(words).exec()),
            _ => return Err(io::Error::other("unknown command")),
        }
        writeln!(out, "done")?;
    }
    Ok(())
}
