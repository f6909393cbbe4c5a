//! What ends a recording, or changes its target under it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::support::{
    Collapsed, Interpreter, Place, Recording, Run, Running, Target, command, eventually, files_in,
    for_every, for_every_that, is_one_of_few, prepare, program_path, python_args, to_command,
    true_stack,
};

/// A recording of the target, waiting threads too.
fn recording_of(target: &Target, options: &[&str]) -> Recording {
    let pid = target.pid_arg();
    let mut command = command(["record", "-i", "-r", "200", "--pid", &pid]);
    Recording::by(command.args(options))
}

/// Its end, with some samples.
fn end_of(recording: Recording) -> (Run, Collapsed) {
    let (collapsed, run) = recording.end();
    assert!(collapsed.total() > 0, "{run:#?}");
    (run, collapsed)
}

/// Ticks whose stack is the known one with its busy function on top.
fn busy_ticks(collapsed: &Collapsed, truth: &Value) -> u64 {
    let below = true_stack(&truth["stack"]);
    let label = |frame: &crate::support::TrueFrame| {
        let file = Path::new(&frame.file).file_name().unwrap();
        format!("{} ({}:{})", frame.name, file.display(), frame.line)
    };
    let below: Vec<_> = below.iter().rev().map(label).collect();
    let busy = format!("{} (", truth["busy"].as_str().unwrap());
    collapsed.count(|frames| {
        let (top, rest) = frames.split_last().unwrap();
        rest == below && top.starts_with(&busy)
    })
}

/// When the process becomes another program that is Python too, the recording
/// goes on with that, and both are in the output, at their true stacks.
#[test]
fn exec_python() {
    for_every("exec-python", |python| {
        let place = Place::below(python);
        let after = program_path(python, "after_exec.py", &place);
        let mut to: Vec<PathBuf> = vec!["--to".into()];
        if python.command.len() > 1 && !python.is_elsewhere() {
            // Started by the dynamic loader, which its executable needs again.
            to.extend(python.command.iter().map(Into::into));
        }
        to.push(after);
        follow(python, place, &to);
    });
}

/// The same when the new program runs under another version.
#[test]
fn exec_another_python() {
    let here = |python: &Interpreter| !python.is_elsewhere() && python.command.len() == 1;
    let all: Vec<_> = Interpreter::all().iter().filter(|p| here(p)).collect();
    for_every_that("exec-another-python", here, |python| {
        let at = all.iter().position(|p| p.name == python.name).unwrap();
        let next = all[(at + 1) % all.len()];
        let place = Place::below(python);
        let after = program_path(python, "after_exec.py", &place);
        let other = PathBuf::from(&next.command[0]);
        let to = ["--python".into(), other, "--to".into(), after];
        follow(python, place, &to);
    });
}

fn follow(python: &Interpreter, place: Place, to: &[PathBuf]) {
    let mut target = execer(python, place, to);
    let recording = recording_of(&target, &[]);
    let before = target.truth.clone();
    target.tell("\n");
    target.listen();
    recording.running.sampled();
    recording.running.signal(Signal::SIGINT);
    let (run, collapsed) = end_of(recording);
    for truth in [&before, &target.truth] {
        let ticks = busy_ticks(&collapsed, truth);
        assert!(ticks >= 10, "{ticks} of {truth}: {collapsed:#?}\n{run:#?}");
    }
}

fn execer(python: &Interpreter, place: Place, to: &[PathBuf]) -> Target {
    let mut command = to_command(&python_args(python, "execer.py", &place));
    command.args(to);
    prepare(&mut command, &place);
    Target::run(command, place)
}

/// When the process becomes a program that is not Python, the recording ends
/// with what it has, and says why.
#[test]
fn exec_something_else() {
    for_every_that("exec-something-else", is_one_of_few, |python| {
        let to = ["--to", "/bin/sleep", "60"].map(PathBuf::from);
        let mut target = execer(python, Place::below(python), &to);
        let recording = recording_of(&target, &[]);
        target.tell("\n");
        let (run, collapsed) = end_of(recording);
        assert!(busy_ticks(&collapsed, &target.truth) >= 10);
        assert!(run.stderr.contains("not Python"), "{run:#?}");
    });
}

/// While an interpreter is waited for in the program that the process has become,
/// a recording ends by a signal, and by its own length, with what it has.
#[test]
fn exec_and_end() {
    for_every_that("exec-and-end", is_one_of_few, |python| {
        let to = ["--to", "/bin/sleep", "60"].map(PathBuf::from);
        for options in [&[][..], &["-d", "2"]] {
            let mut target = execer(python, Place::below(python), &to);
            let recording = recording_of(&target, options);
            target.tell("\n");
            eventually("the process is another program", || {
                let name = fs::read_to_string(format!("/proc/{}/comm", target.pid())).unwrap();
                (name == "sleep\n").then_some(())
            });
            if options.is_empty() {
                recording.running.signal(Signal::SIGINT);
            }
            let (run, collapsed) = end_of(recording);
            assert!(busy_ticks(&collapsed, &target.truth) > 0);
            assert!(!run.stderr.contains("not Python"), "{run:#?}");
        }
    });
}

/// When the target ends, the recording ends with what it has.
#[test]
fn exit() {
    for_every("exit", |python| {
        let mut target = Target::start_with(python, "exiter.py", &["--seconds", "0.5"]);
        let recording = recording_of(&target, &[]);
        target.tell("\n");
        let (run, collapsed) = end_of(recording);
        assert!(run.stderr.contains("has ended"), "{run:#?}");
        assert!(
            busy_ticks(&collapsed, &target.truth) >= 20,
            "{collapsed:#?}"
        );
    });
}

/// When the target is killed, the recording ends with what it has.
#[test]
fn killed() {
    for_every("killed", |python| {
        let mut target = Target::start(python, "shares.py").settled();
        let recording = recording_of(&target, &[]);
        target.kill();
        let (run, collapsed) = end_of(recording);
        assert!(run.stderr.contains("has ended"), "{run:#?}");
        assert!(collapsed.count_of("run") > 0, "{collapsed:#?}");
    });
}

/// SIGINT, SIGTERM and SIGHUP finish the recording and its file, and leave
/// the target alone.
#[test]
fn signals_finish() {
    for_every("signals-finish", |python| {
        let target = Target::start(python, "shares.py").settled();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let recording = recording_of(&target, &[]);
            recording.running.signal(signal);
            let (_, collapsed) = end_of(recording);
            assert!(collapsed.count_of("run") > 0, "{collapsed:#?}");
        }
        assert!(target.end().success());
    });
}

/// A second signal gives up at once, though the result has not gone out yet.
#[test]
fn second_signal_gives_up() {
    let python = &Interpreter::all()[0];
    let target = Target::start(python, "shares.py").settled();
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let mut command = command(["record", "-f", "raw", "--pid", &target.pid_arg(), "-o"]);
    let running = Running::start(command.arg(&fifo));
    running.sampled();
    running.signal(Signal::SIGINT);
    let opening = format!("{} ", libc::SYS_openat);
    eventually("firefinch waits for a reader of the result", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", running.pid())).ok()?;
        call.starts_with(&opening).then_some(())
    });
    running.signal(Signal::SIGINT);
    let run = running.end();
    assert_eq!(run.code, Some(128 + 2), "{run:#?}");
}

/// Two signals at once give up, and leave no file behind.
#[test]
fn giving_up_leaves_nothing() {
    let python = &Interpreter::all()[0];
    let target = Target::start(python, "shares.py").settled();
    let recording = recording_of(&target, &[]);
    let running = recording.running;
    running.signal(Signal::SIGSTOP);
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGCONT);
    let run = running.end();
    assert!(matches!(run.code, Some(130 | 143)), "{run:#?}");
    let left = files_in(recording.directory.path());
    assert!(left.is_empty(), "{left:?}");
}

/// firefinch killed in the middle leaves the target running as before.
#[test]
fn firefinch_killed() {
    for_every("firefinch-killed", |python| {
        let target = Target::start(python, "shares.py").settled();
        for options in [&[][..], &["--blocking"]] {
            let mut command = command(["record", "-r", "1000", "--pid", &target.pid_arg()]);
            command.args(options).args(["-o", "-"]).process_group(0);
            let running = Running::start(&mut command);
            running.sampled();
            running.signal(Signal::SIGKILL);
            let run = running.end();
            assert_eq!(run.signal, Some(9), "{run:#?}");
        }
        assert!(target.end().success());
    });
}
