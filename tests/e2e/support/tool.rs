use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, eventually};

/// What a program did that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Fails unless it said three lines and gave this exit code: what failed,
    /// the evidence, what to type.
    #[track_caller]
    pub(crate) fn failed_with(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        let [what, evidence, next] = &lines[..] else {
            panic!("three lines: {self:#?}");
        };
        let parts = [
            what.strip_prefix("firefinch: "),
            evidence.strip_prefix("  evidence: "),
            next.strip_prefix("  next: "),
        ];
        for part in parts {
            assert!(
                part.is_some_and(|part| !part.trim().is_empty()),
                "{self:#?}"
            );
        }
    }

    /// Itself, if it did what it was asked for.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}

/// A `firefinch` with these arguments that can be changed before it is run.
pub(crate) fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firefinch"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs `firefinch` with these arguments to its end.
pub(crate) fn firefinch<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    Running::start(&mut command(args)).end()
}

/// A program that runs with its output caught. It is killed if it is dropped
/// before its end.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

impl Running {
    /// Starts it; whatever standard output it was given is replaced by a pipe.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = all_of(child.stdout.take().unwrap());
        let stderr = all_of(child.stderr.take().unwrap());
        Self {
            child: Some(child),
            stdout,
            stderr,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("it runs");
        i32::try_from(child.id()).unwrap()
    }

    /// Waits until it has sampled a few times from now on.
    pub(crate) fn sampled(&self) {
        const TIMES: u64 = 20;
        let asleep = format!("{} 0x1 0x1 ", libc::SYS_clock_nanosleep);
        eventually("firefinch waits for a deadline", || {
            let call = fs::read_to_string(format!("/proc/{}/syscall", self.pid())).ok()?;
            call.starts_with(&asleep).then_some(())
        });
        let begun = self.waits();
        eventually("firefinch ticks", || {
            (self.waits() >= begun + TIMES).then_some(())
        });
    }

    /// How often its main thread has given up the processor by itself.
    fn waits(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let waits = |line: &str| {
            line.strip_prefix("voluntary_ctxt_switches:")?
                .trim()
                .parse()
                .ok()
        };
        status.lines().find_map(waits).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Writes all of this to its stdin and closes that.
    pub(crate) fn feed(&mut self, text: &str) {
        let child = self.child.as_mut().expect("it runs");
        let mut stdin = child.stdin.take().expect("its stdin is a pipe");
        let text = text.to_owned();
        thread::spawn(move || stdin.write_all(text.as_bytes()));
    }

    /// Waits for its end: that of its output, and so of what shares that.
    pub(crate) fn end(mut self) -> Run {
        let stdout = self.stdout.recv_timeout(PATIENCE);
        let stderr = self.stderr.recv_timeout(PATIENCE);
        let (Ok(stdout), Ok(stderr)) = (stdout, stderr) else {
            panic!("it did not end in {PATIENCE:?}");
        };
        let mut child = self.child.take().expect("it runs");
        let status: ExitStatus = child.wait().expect("a child can be waited for");
        Run {
            code: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8(stdout).expect("its output is text"),
            stderr: String::from_utf8(stderr).expect("its messages are text"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn all_of(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}
