//! Where a recording goes, and where it goes when it cannot go there.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::faults::{NO_SUCH_PID, busy_target};
use crate::support::{
    Collapsed, Nobody, Run, Running, command, firefinch, is_left_out_without_root, is_root,
};

/// A place that cannot be written to is found out before sampling: a recording
/// without an end of its own ends at once.
#[test]
fn output_place() {
    let target = busy_target();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().to_str().unwrap().to_owned();
    let missing = format!("{directory}/missing/out.svg");
    let below_file = format!("{directory}/file/out.svg");
    fs::write(place.path().join("file"), "kept").unwrap();
    for (path, word) in [
        (&*directory, "directory"),
        (&*missing, "mkdir -p"),
        (&*below_file, "os error 20"),
        ("/proc/out.svg", "/proc"),
        ("", "-o"),
    ] {
        let run = firefinch(["record", "-p", &target.pid_arg(), "-o", path]);
        run.failed_with(1);
        assert!(run.stderr.contains(word), "{path}: {run:#?}");
        assert!(!run.stderr.contains(".firefinch-"), "{path}: {run:#?}");
    }
    assert_eq!(
        fs::read_to_string(place.path().join("file")).unwrap(),
        "kept"
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
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
    // Only root can have a disk of its own that is full.
    if is_left_out_without_root("disk-full") {
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
