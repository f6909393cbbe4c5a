//! `firefinch record -- COMMAND`: the command's own streams and exit status.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{
    Collapsed, Interpreter, Place, Run, Running, command, for_every, interpreter_args, prepare,
    python_args,
};

/// `firefinch record -o FILE OPTIONS -- ARGS`, with a pipe for stdin.
fn launching(file: &Path, options: &[&str], args: &[OsString]) -> Command {
    let mut launching = command(["record", "-f", "raw", "-o"]);
    launching.arg(file).args(options).arg("--").args(args);
    launching.stdin(Stdio::piped());
    launching
}

/// Starts exiter.py with these arguments, which works for a moment.
fn exiting(python: &Interpreter, exit: &[&str]) -> (Run, Collapsed) {
    let place = Place::below(python);
    let file = place.outside().join("out.txt");
    let mut args = python_args(python, "exiter.py", &place);
    args.extend(["--no-wait", "--seconds", "0.3"].map(Into::into));
    args.extend(exit.iter().map(Into::into));
    let mut launching = launching(&file, &["-r", "200"], &args);
    prepare(&mut launching, &place);
    let run = Running::start(&mut launching).end();
    let collapsed = fs::read_to_string(&file);
    let collapsed = collapsed.unwrap_or_else(|error| panic!("{error}: {run:#?}"));
    (run, Collapsed::parse(&collapsed))
}

/// The exit status of the command is passed on, a signal as 128 + its number;
/// the command's output is all there is on stdout; its work was sampled.
#[test]
fn exit_status() {
    for_every("launch-exit-status", |python| {
        let exits: [(&[&str], i32); 4] = [
            (&["--status", "0"], 0),
            (&["--status", "7"], 7),
            (&["--kill-self"], 128 + 9),
            (&["--crash"], 128 + 6),
        ];
        for (exit, code) in exits {
            let (run, collapsed) = exiting(python, exit);
            assert_eq!(run.code, Some(code), "{exit:?}: {run:#?}");
            let said: Vec<_> = run.stdout.lines().collect();
            assert_eq!(said.len(), 2, "{run:#?}");
            assert!(said[0].starts_with("ready ") && said[1].starts_with("truth "));
            assert!(run.stderr.contains("has ended"), "{run:#?}");
            let work = collapsed.count_of("short_work");
            assert!(work >= 20, "{work} of {}", collapsed.total());
        }
    });
}

/// What goes in by stdin comes out by stdout, all of it and nothing else.
#[test]
fn streams() {
    const FILTER: &str = "import sys, time\n\
        text = sys.stdin.read()\n\
        end = time.time() + 0.2\n\
        while time.time() < end: pass\n\
        sys.stdout.write(text)\n";
    for_every("launch-streams", |python| {
        let place = Place::below(python);
        let file = place.outside().join("out.txt");
        let mut args = interpreter_args(python);
        args.extend(["-c".into(), FILTER.into()]);
        let mut launching = launching(&file, &[], &args);
        prepare(&mut launching, &place);
        let mut running = Running::start(&mut launching);
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        running.feed(&text);
        let run = running.end().succeeded();
        assert!(
            run.stdout == text,
            "{} bytes of {}",
            run.stdout.len(),
            text.len()
        );
        let collapsed = Collapsed::parse(&fs::read_to_string(&file).unwrap());
        assert!(collapsed.count_of("<module>") > 0, "{run:#?}");
    });
}

/// Launches a command that cannot be recorded; nothing may be written.
fn refused(args: &[&str]) -> Run {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    let args: Vec<_> = args.iter().map(OsString::from).collect();
    // A command that ends at once must not be met by an early tick.
    let run = Running::start(&mut launching(&file, &["-r", "1"], &args)).end();
    run.failed_with(1);
    assert_eq!(run.stdout, "");
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    run
}

/// A command that does not exist is reported by its name, with the system's reason.
#[test]
fn command_not_found() {
    let run = refused(&["firefinch-no-such-command", "argument"]);
    assert!(run.stderr.contains("firefinch-no-such-command"), "{run:#?}");
    assert!(run.stderr.contains("os error 2"), "{run:#?}");
}

/// A file that is no program is reported with the system's reason.
#[test]
fn command_not_executable() {
    let run = refused(&["/etc/passwd"]);
    assert!(run.stderr.contains("os error 13"), "{run:#?}");
}

/// A command that ends before anything can be sampled is reported as that.
#[test]
fn command_ends_at_once() {
    for args in [&["true"][..], &["sh", "-c", "exit 9"]] {
        let run = refused(args);
        assert!(run.stderr.contains("ended before"), "{run:#?}");
    }
}

/// A program that is not Python is recorded by its native stacks, and its exit
/// status is passed on.
#[test]
fn command_is_not_python() {
    const COUNT: &str = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; exit 7";
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    let args: Vec<_> = ["sh", "-c", COUNT].map(OsString::from).into();
    let run = Running::start(&mut launching(&file, &["-r", "500"], &args)).end();
    assert_eq!(run.code, Some(7), "{run:#?}");
    let collapsed = Collapsed::parse(&fs::read_to_string(&file).unwrap());
    assert!(collapsed.total() > 0, "{run:#?}");
}

/// When the duration is over before the command, the recording is finished,
/// the command runs on, and its status is still passed on.
#[test]
fn duration_ends_before_the_command() {
    for_every("launch-duration", |python| {
        let place = Place::below(python);
        let file = place.outside().join("out.txt");
        let mut args = python_args(python, "exiter.py", &place);
        args.extend(["--no-wait", "--seconds", "3", "--status", "5"].map(Into::into));
        let mut launching = launching(&file, &["-d", "1"], &args);
        prepare(&mut launching, &place);
        let run = Running::start(&mut launching).end();
        assert_eq!(run.code, Some(5), "{run:#?}");
        assert!(run.stderr.contains("runs on"), "{run:#?}");
        assert!(!fs::read_to_string(&file).unwrap().is_empty());
    });
}

/// A signal to firefinch alone ends the recording, not the command, which is
/// waited for.
#[test]
fn signal_leaves_the_command_alone() {
    for_every("launch-signal", |python| {
        let place = Place::below(python);
        let file = place.outside().join("out.txt");
        let mut args = python_args(python, "exiter.py", &place);
        args.extend(["--seconds", "60"].map(Into::into));
        let mut launching = launching(&file, &["-i"], &args);
        prepare(&mut launching, &place);
        let mut running = Running::start(&mut launching);
        running.sampled();
        running.signal(Signal::SIGTERM);
        crate::support::eventually("the file is written", || file.exists().then_some(()));
        // The end of its stdin ends the command with status 3.
        running.feed("");
        let run = running.end();
        assert_eq!(run.code, Some(3), "{run:#?}");
        assert!(run.stdout.starts_with("ready "), "{run:#?}");
    });
}
