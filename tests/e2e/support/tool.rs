use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::PATIENCE;

/// What a program did that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
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
