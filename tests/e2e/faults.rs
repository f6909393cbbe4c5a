//! What firefinch cannot do, and how it says so: three lines and an exit code.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Collapsed, Dump, Interpreter, Nobody, Run, Running, Target, command, eventually, firefinch,
    for_every_that, is_root, true_stack,
};

/// Larger than any PID: the kernel's own limit (PID_MAX_LIMIT,
/// include/linux/threads.h in Linux 6.12).
const NO_SUCH_PID: &str = "4194304";

/// Interpreters of every kind, for what depends on them little.
pub(crate) fn is_one_of_few(python: &Interpreter) -> bool {
    ["2.7", "3.8", "3.12", "3.15", "3.13t"].contains(&&*python.name)
}

pub(crate) fn busy_target() -> Target {
    Target::start(&Interpreter::all()[0], "shares.py").settled()
}

/// Whatever cannot be profiled: `dump` and `record` both say so, and nothing
/// is written.
#[track_caller]
fn cannot_be_profiled(pid: &str, words: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    let record = ["record", "-d", "1", "-o", file.to_str().unwrap(), pid];
    for args in [&["dump", pid][..], &record] {
        let run = firefinch(args);
        run.failed_with(1);
        assert_eq!(run.stdout, "");
        for word in words {
            assert!(run.stderr.contains(word), "{word}: {run:#?}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

/// A child that is no Python, killed and reaped in the end.
#[derive(Debug)]
struct Other(Child);

impl Other {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        let command = command.args(args).stdin(Stdio::piped());
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The letter of the process's state in `/proc/PID/stat`.
fn state_of(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest[..1].to_owned()
}

/// A process that does not exist is said not to.
#[test]
fn no_such_process() {
    cannot_be_profiled(NO_SUCH_PID, &["no process", NO_SUCH_PID, "firefinch ps"]);
}

/// A process that is no Python is called by what it is.
#[test]
fn not_python() {
    let other = Other::start("sleep", &["60"]);
    cannot_be_profiled(&other.pid(), &["Python", "sleep"]);
}

/// The first process, which is never an interpreter where these tests run,
/// and the kernel's threads are refused.
#[test]
fn init_and_kernel_threads() {
    cannot_be_profiled("1", &["process 1"]);
    let kernel = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().into_string().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?;
        (parent == "2").then_some(pid)
    });
    match kernel {
        Some(pid) => cannot_be_profiled(&pid, &["kernel thread"]),
        None => assert_ne!(
            fs::read_to_string("/proc/2/comm").ok().as_deref(),
            Some("kthreadd\n")
        ),
    }
}

/// Of a process that has ended, only its status is left.
#[test]
fn zombie() {
    let other = Other::start("true", &[]);
    eventually("a zombie", || (state_of(&other.pid()) == "Z").then_some(()));
    cannot_be_profiled(&other.pid(), &["zombie"]);
}

/// A thread's id is not its process's, and the message has the right one.
#[test]
fn thread_id() {
    let target = Target::start(&Interpreter::all()[0], "threads.py");
    let tid = target.truth["threads"]["sleeper"]["native_id"].to_string();
    cannot_be_profiled(&tid, &[&format!("-p {}", target.pid())]);
}

/// A directory that its user must not write to is found out before sampling,
/// with the system's reason.
#[test]
fn output_not_permitted() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o555)).unwrap();
    let file = place.path().join("out.svg");
    let nobody = Nobody::new();
    let mut recording = command(["record", "-o"]);
    recording.arg(file).args(["--", "sleep", "60"]);
    if is_root() {
        recording = nobody.command(&recording);
    }
    let run = Running::start(&mut recording).end();
    run.failed_with(1);
    assert!(run.stderr.contains("os error 13"), "{run:#?}");
}

/// A file that exists is replaced at the end in one step: until then it stays
/// as it was, and nothing is left beside it.
#[test]
fn existing_file() {
    let target = busy_target();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    fs::write(&file, "precious").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&file).unwrap().ino();
    let mut recording = command(["record", "-p", &target.pid_arg(), "-o"]);
    let running = Running::start(recording.arg(&file));
    running.sampled();
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    running.signal(Signal::SIGINT);
    running.end().succeeded();
    let collapsed = Collapsed::parse(&fs::read_to_string(&file).unwrap());
    assert!(collapsed.total() > 0);
    assert_ne!(fs::metadata(&file).unwrap().ino(), inode);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

/// A new file has the permissions that the user's umask leaves.
#[test]
fn new_file_permissions() {
    let target = busy_target();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    let script = format!(
        "umask 027; exec {} record -d 0.1 -p {} -o {}",
        env!("CARGO_BIN_EXE_firefinch"),
        target.pid(),
        file.display()
    );
    let mut shell = Command::new("sh");
    Running::start(shell.args(["-c", &script]))
        .end()
        .succeeded();
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
}

/// The file of a failed recording is not touched.
#[test]
fn existing_file_survives_failure() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    fs::write(&file, "precious").unwrap();
    firefinch(["record", "-p", NO_SUCH_PID, "-o", file.to_str().unwrap()]).failed_with(1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

/// The place that the evidence names for a result that was saved elsewhere.
fn rescued(run: &Run) -> PathBuf {
    let last = run.stderr.lines().rev().nth(1).expect("a line of evidence");
    let (_, path) = last.rsplit_once("safe in ").expect("a place");
    PathBuf::from(path)
}

/// The last three lines of a run that sampled first.
fn failed_late(run: &Run, code: i32) {
    let mut lines: Vec<_> = run.stderr.lines().rev().take(3).collect();
    lines.reverse();
    let late = Run {
        stderr: lines.join("\n"),
        stdout: String::new(),
        ..*run
    };
    late.failed_with(code);
}

/// When the output's place takes nothing any more, the result is saved where
/// the message says.
#[test]
fn device_full() {
    let target = busy_target();
    let place = tempfile::tempdir().unwrap();
    let pid = target.pid_arg();
    let mut recording = command(["record", "-d", "0.3", "-f", "raw", "-o", "/dev/full", &pid]);
    let run = Running::start(recording.env("TMPDIR", place.path())).end();
    failed_late(&run, 4);
    assert!(run.stderr.contains("os error 28"), "{run:#?}");
    let saved = rescued(&run);
    assert!(saved.starts_with(place.path()), "{run:#?}");
    let collapsed = Collapsed::parse(&fs::read_to_string(saved).unwrap());
    assert!(collapsed.count_of("run") > 0);
}

/// The same for a disk that is full: nothing half-written stays on it, and an
/// older file stays whole.
#[test]
fn disk_full() {
    if !is_root() {
        // Only root can have a disk of its own that is full.
        return;
    }
    let target = busy_target();
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let script = r#"mount -t tmpfs -o size=4096 tmpfs "$1" && echo old >"$1/out.svg" || exit 99
        "$0" record -d 0.3 -o "$1/out.svg" "$2"
        code=$?; ls -A "$1"; cat "$1/out.svg"; exit $code"#;
    let mut shell = Command::new("unshare");
    shell.args([
        "--mount",
        "sh",
        "-c",
        script,
        env!("CARGO_BIN_EXE_firefinch"),
    ]);
    shell
        .arg(&disk)
        .arg(target.pid_arg())
        .env("TMPDIR", place.path());
    let run = Running::start(&mut shell).end();
    failed_late(&run, 4);
    assert_eq!(run.stdout, "out.svg\nold\n");
    let svg = fs::read_to_string(rescued(&run)).unwrap();
    assert!(svg.trim_end().ends_with("</svg>"));
}

/// When nobody reads standard output any more, `dump` has done its work and a
/// recording is saved.
#[test]
fn closed_pipe() {
    let target = busy_target();
    let place = tempfile::tempdir().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut dump = command(["dump", &target.pid_arg()]);
    let status = dump.stdout(writer.try_clone().unwrap()).status().unwrap();
    assert_eq!(status.code(), Some(0));

    let pid = target.pid_arg();
    let mut recording = command(["record", "-d", "0.1", "-f", "raw", "-o", "-", &pid]);
    recording.env("TMPDIR", place.path()).stdout(writer);
    let output = recording.stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    let run = Run {
        code: output.status.code(),
        signal: None,
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    failed_late(&run, 4);
    assert!(rescued(&run).exists());
}

/// A stopped target is shown as it stands, and stays stopped.
#[test]
fn stopped_target() {
    for_every_that("stopped-target", is_one_of_few, |python| {
        let target = Target::start(python, "generators.py").settled();
        let pid = target.pid_arg();
        kill(Pid::from_raw(target.pid()), Signal::SIGSTOP).unwrap();
        eventually("a stopped target", || (state_of(&pid) == "T").then_some(()));
        for options in [&[][..], &["--blocking"]] {
            let mut args = vec!["dump", "--full-filenames", &pid];
            args.extend(options);
            let dump = Dump::parse(&firefinch(args).succeeded().stdout);
            let truth = true_stack(&target.truth["stack"]);
            assert_eq!(dump.only().frames, truth);
            assert_eq!(state_of(&pid), "T");
            let mut args = vec!["record", "-i", "-d", "0.2", "-o", "-", "-f", "raw", &pid];
            args.extend(options);
            let run = firefinch(args).succeeded();
            let collapsed = Collapsed::parse(&run.stdout);
            assert_eq!(collapsed.stacks.len(), 1, "{collapsed:#?}");
            assert_eq!(collapsed.stacks[0].0.len(), truth.len());
            assert_eq!(state_of(&pid), "T");
        }
        kill(Pid::from_raw(target.pid()), Signal::SIGCONT).unwrap();
        assert!(target.end().success());
    });
}
