//! Targets for the tests, ended with the test that started them.
#![allow(dead_code)] // each test file uses its own part

pub(crate) mod vforker;
pub(crate) mod visits;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use firefinch_memory::RemoteAddr;
use firefinch_process::{Pid, Process, Stopper};
use nix::sys::signal::{Signal, kill};
use nix::unistd;

/// A running target.
pub(crate) struct Target {
    pub(crate) child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub(crate) pattern: RemoteAddr,
    pub(crate) counters: RemoteAddr,
}

pub(crate) const TARGET: &str = env!("CARGO_BIN_EXE_firefinch-process-target");

impl Target {
    pub(crate) fn start() -> Self {
        Self::run(&mut Command::new(TARGET))
    }

    /// Starts a command that ends up being the target.
    pub(crate) fn run(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the target starts");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut target = Self {
            child,
            stdin,
            stdout,
            pattern: RemoteAddr::NULL,
            counters: RemoteAddr::NULL,
        };
        let line = target.line();
        let (pattern, counters) = line.split_once(' ').expect("two addresses");
        target.pattern = RemoteAddr::new(pattern.parse().expect("an address"));
        target.counters = RemoteAddr::new(counters.parse().expect("an address"));
        target
    }

    /// The next line the target writes.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the target writes");
        line.trim_end().to_owned()
    }

    /// Gives a command and waits for the answer.
    pub(crate) fn order(&mut self, command: &str) {
        self.send(command);
        assert_eq!(self.line(), "done", "{command}");
    }

    /// Gives a command that is not answered.
    pub(crate) fn send(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("open");
        writeln!(stdin, "{command}").expect("the target reads");
    }

    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    pub(crate) fn process(&self) -> Process {
        Process::open(self.pid()).expect("the target lives")
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn pid_of(child: &Child) -> Pid {
    let id = i32::try_from(child.id()).expect("a pid");
    Pid::new(id).expect("positive")
}

/// Long enough for anything that will happen at all.
pub(crate) fn patience() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Nobody traces any of its threads.
pub(crate) fn assert_untraced(process: &Process) {
    for tid in process.threads().expect("alive") {
        let path = format!("/proc/{}/task/{tid}/status", process.pid());
        // A thread that has ended since is not traced either.
        if let Ok(status) = fs::read_to_string(path) {
            assert!(status.contains("TracerPid:\t0\n"), "{tid} is still traced");
        }
    }
}

/// Waits until no thread is attached any more, those included that were late.
pub(crate) fn let_all_go(stopper: &mut Stopper) {
    until("all is settled", || (stopper.settle() == 0).then_some(()));
}

/// Sends a signal to the whole process.
pub(crate) fn send(process: &Process, signal: Signal) {
    kill(unistd::Pid::from_raw(process.pid().get()), signal).expect("ours");
}

/// Tries again until it gives something: for what the kernel does in its own
/// time after a system call has returned. Gives up after a minute.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < give_up, "never: {what}");
        std::thread::yield_now();
    }
}

/// Copies a program by another process. If we had it open for writing, a child
/// that some other test starts at that moment would hold it open as well, and
/// it could not be executed (ETXTBSY).
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status();
    assert!(status.expect("cp starts").success());
}

/// Some tests become another user or change namespaces and roots, which only
/// root can. Where they cannot run they say so, and fail where all is required
/// to run.
pub(crate) fn may_act_as_root() -> bool {
    if unistd::geteuid().is_root() {
        return true;
    }
    let required = std::env::var_os("CI").is_some_and(|v| v == "true");
    assert!(!required, "this test has to run as root");
    eprintln!("not run: this test needs root");
    false
}
