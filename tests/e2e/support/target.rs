use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::{Interpreter, PATIENCE, eventually};

/// Gives a process a `/proc` of its own in another root, in a mount namespace
/// that vanishes with it, and leaves it its PID.
const WITH_PROC: [&str; 5] = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    r#"mount -t proc proc "$0/proc" && exec "$@""#,
];

/// A program that told its truth and now stands where it said, until dropped.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    /// The process itself: the child, or a child of that.
    pid: i32,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: File,
    /// What follows `ready` in its first line.
    pub(crate) ready: String,
    pub(crate) truth: Value,
    place: Place,
}

/// Where a target's files are, for us and for it.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    inside: PathBuf,
}

impl Place {
    /// A new directory that `python` can see.
    pub(crate) fn below(python: &Interpreter) -> Self {
        let above = python.root.join("tmp");
        let directory = tempfile::Builder::new()
            .prefix("firefinch-e2e-")
            .tempdir_in(above)
            .expect("the root's /tmp can be written to");
        let seen = directory.path().strip_prefix(&python.root).unwrap();
        let inside = Path::new("/").join(seen);
        Self { directory, inside }
    }

    /// The directory as we see it.
    pub(crate) fn outside(&self) -> &Path {
        self.directory.path()
    }

    /// The directory as the target sees it.
    pub(crate) fn inside(&self) -> &Path {
        &self.inside
    }
}

/// The directory of the programs.
pub(crate) fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets")
}

/// The arguments that run `program` of `tests/targets` under `python`.
pub(crate) fn python_args(python: &Interpreter, program: &str, place: &Place) -> Vec<OsString> {
    let mut args = interpreter_args(python);
    args.push(program_path(python, program, place).into());
    args
}

/// The arguments that start the interpreter itself, with a `/proc` to see.
pub(crate) fn interpreter_args(python: &Interpreter) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    if python.is_elsewhere() {
        args.extend(WITH_PROC.map(Into::into));
        args.push(python.root.clone().into());
    }
    args.extend(python.command.iter().map(Into::into));
    args
}

/// Where `python` finds `program` of `tests/targets`; a copy in another root.
pub(crate) fn program_path(python: &Interpreter, program: &str, place: &Place) -> PathBuf {
    if !python.is_elsewhere() {
        return programs().join(program);
    }
    copy_programs(place.outside());
    place.inside().join(program)
}

/// Copies the programs of `tests/targets` to a directory, which is made.
pub(crate) fn copy_programs(directory: &Path) {
    for below in ["", "embed"] {
        let (from, to) = (programs().join(below), directory.join(below));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let file = entry.unwrap().path();
            if file.extension() == Some(OsStr::new("py")) {
                fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// The same surroundings for every target.
pub(crate) fn prepare(command: &mut Command, place: &Place) {
    command
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TMPDIR", place.inside())
        .env("LC_ALL", "C.UTF-8");
}

/// What the thread with this directory in `/proc` waits in: number, arguments,
/// as in proc_pid_syscall(5); empty when it is gone.
fn system_call(task: &Path) -> String {
    fs::read_to_string(task.join("syscall")).unwrap_or_default()
}

/// The command of these arguments.
pub(crate) fn to_command(args: &[OsString]) -> Command {
    let (first, rest) = args.split_first().expect("a program to run");
    let mut command = Command::new(first);
    command.args(rest);
    command
}

impl Target {
    /// Starts `program` of `tests/targets` under `python`.
    pub(crate) fn start(python: &Interpreter, program: &str) -> Self {
        Self::start_with(python, program, &[])
    }

    /// The same with arguments for the program.
    pub(crate) fn start_with(python: &Interpreter, program: &str, args: &[&str]) -> Self {
        let place = Place::below(python);
        let mut command = to_command(&python_args(python, program, &place));
        command.args(args);
        prepare(&mut command, &place);
        Self::run(command, place)
    }

    /// Runs a command that says `ready` and its truth.
    pub(crate) fn run(mut command: Command, place: Place) -> Self {
        let stderr = tempfile::tempfile().expect("a temporary file");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().unwrap());
        let mut child = eventually("the target starts", || match command.spawn() {
            // A copy is busy while another thread's child still has it open for
            // writing: it was forked meanwhile and has yet to exec.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
            other => Some(other.expect("the target starts")),
        });
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut target = Self {
            pid: i32::try_from(child.id()).unwrap(),
            child,
            stdin,
            lines,
            stderr,
            ready: String::new(),
            truth: Value::Null,
            place,
        };
        target.listen();
        target
    }

    /// Hears what it says: when it has become another program, once more.
    pub(crate) fn listen(&mut self) {
        self.ready = self.line_after("ready ");
        let truth = self.line_after("truth ");
        self.truth = serde_json::from_str(&truth).expect("the truth is JSON");
    }

    /// The same for a command whose child is the target, and which kills that
    /// when it is killed.
    pub(crate) fn run_child(command: Command, place: Place) -> Self {
        let mut target = Self::run(command, place);
        let children = format!("/proc/{0}/task/{0}/children", target.pid);
        let children = fs::read_to_string(children).unwrap();
        target.pid = children.trim().parse().expect("one child");
        target
    }

    /// The rest of its next line, which must begin with `word`.
    pub(crate) fn line_after(&mut self, word: &str) -> String {
        let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
            panic!("the target did not say {word:?}: {}", self.messages());
        };
        let rest = line.strip_prefix(word);
        let rest = rest.unwrap_or_else(|| panic!("{word:?} in {line:?}: {}", self.messages()));
        rest.to_owned()
    }

    fn messages(&mut self) -> String {
        let mut text = String::new();
        self.stderr.rewind().unwrap();
        let _ = self.stderr.read_to_string(&mut text);
        text
    }

    /// Itself, once one of its threads waits for stdin in the kernel: it says
    /// that it is ready a moment before it does.
    pub(crate) fn settled(self) -> Self {
        eventually("the target waits for stdin", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
            let mut calls = tasks.flatten().map(|task| system_call(&task.path()));
            let read_of_stdin = format!("{} 0x0 ", libc::SYS_read);
            calls
                .any(|call| call.starts_with(&read_of_stdin))
                .then_some(())
        });
        self
    }

    /// Waits until its thread of this number reads from something in the kernel.
    pub(crate) fn thread_reads(&self, tid: u64) {
        let read = format!("{} ", libc::SYS_read);
        let task = PathBuf::from(format!("/proc/{}/task/{tid}", self.pid()));
        eventually("the thread reads", || {
            system_call(&task).starts_with(&read).then_some(())
        });
    }

    /// Its PID as we see it.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The PID as an argument.
    pub(crate) fn pid_arg(&self) -> String {
        self.pid().to_string()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Writes a line to its stdin.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        stdin.write_all(line.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Closes its stdin, which asks it to end, and waits for that.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.stdin = None;
        eventually("the target's end", || self.child.try_wait().unwrap())
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
