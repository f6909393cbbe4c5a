//! `firefinch top` on a terminal, as people see it.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::native::compiled;
use crate::support::{
    Interpreter, Place, Running, Target, Terminal, command, eventually, for_every_that, prepare,
    program_path, python_args, to_command,
};

/// Rows and columns of the usual terminal.
const USUAL: (u16, u16) = (24, 80);

/// Interpreters that differ in how they are read.
fn is_wanted(python: &Interpreter) -> bool {
    const WANTED: [&str; 7] = ["2.7", "3.8", "3.11", "3.13", "3.13t", "3.14", "3.15"];
    WANTED.contains(&&*python.name)
}

/// One interpreter, for what does not depend on it.
fn is_plain(python: &Interpreter) -> bool {
    python.name == "3.11"
}

/// The row of a table about this function: its shares, in percent, and its times,
/// in seconds, own and total.
fn row(lines: &[String], function: &str) -> Option<[f64; 4]> {
    let named = format!("  {function} (");
    let line = lines.iter().find(|line| line.contains(&named))?;
    let numbers = line.split(&named).next()?.replace(['%', ',', 's'], "");
    let numbers = numbers.split_whitespace().map(str::parse);
    let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// The first function of a table.
fn first(lines: &[String]) -> Option<&str> {
    let headings = |line: &String| line.trim_start().starts_with("%Own");
    let at = lines.iter().position(headings)?;
    let line = lines.get(at + 1)?;
    Some(line.rsplit_once(" (")?.0.split("  ").last()?.trim())
}

/// Waits for four seconds of samples with few ticks missed: what was missed is
/// counted for what was seen next, and on a machine with much else to do, or while
/// names are looked up for the first time, that is most of it. `run` is in all stacks.
fn four_good_seconds(terminal: &mut Terminal) {
    const TRIES: usize = 10;
    let total = |lines: &[String]| Some(row(lines, "run")?[3]);
    terminal.press("4");
    for _ in 0..TRIES {
        terminal.press("r");
        terminal.shows("a reset", |lines| {
            (total(lines).unwrap_or(0.0) < 1.0).then_some(())
        });
        terminal.shows("four seconds of samples", |lines| {
            total(lines).filter(|total| *total >= 4.0)
        });
        let lines = terminal.lines();
        let missed = lines[1].split(" ticks missed").next().unwrap();
        let missed = missed.split_whitespace().last().unwrap().replace(',', "");
        if missed.parse::<u32>().unwrap() < 80 {
            return;
        }
    }
    panic!(
        "one of ten times with few ticks missed: {:#?}",
        terminal.lines()
    );
}

/// Of a program with known shares the hottest function leads with its share; the
/// quitting key ends the view with its last table on the terminal, and the target
/// lives on.
#[test]
fn known_shares() {
    for_every_that("top-shares", is_wanted, |python| {
        let target = Target::start(python, "shares.py");
        let pid = target.pid_arg();
        let mut terminal = Terminal::start(["top", "-r", "200", "-p", &pid], USUAL);
        terminal.is_taken();
        four_good_seconds(&mut terminal);
        terminal.press("3");
        terminal.shows("the hottest function first", |lines| {
            (first(lines) == Some("takes_50")).then_some(())
        });
        let lines = terminal.lines();
        assert!(lines[0].contains(&format!("(PID {pid}), Python {}", python.version)));
        let gil = lines[2].contains("GIL held");
        assert_eq!(gil, !python.free_threaded, "{lines:#?}");
        terminal.press("q");
        let (status, lines) = terminal.end();
        assert_eq!(status, 0, "{lines:#?}");
        assert_eq!(first(&lines), Some("takes_50"), "{lines:#?}");
        for (function, share) in [("takes_50", 50.0), ("takes_30", 30.0), ("takes_15", 15.0)] {
            let [own, total, ..] = row(&lines, function).unwrap();
            assert!((own - share).abs() < 10.0, "{function}: {lines:#?}");
            assert!(total >= own, "{lines:#?}");
        }
        assert!(target.end().success());
    });
}

/// With native frames among them the Python functions keep their share in total.
#[test]
fn native_frames() {
    let can = |python: &Interpreter| ["3.8", "3.11", "3.14"].contains(&&*python.name);
    for_every_that("top-native", can, |python| {
        let target = Target::start(python, "shares.py");
        let mut terminal =
            Terminal::start(["top", "-n", "-r", "200", &target.pid_arg()], (50, 100));
        terminal.is_taken();
        four_good_seconds(&mut terminal);
        terminal.press("q");
        let (status, lines) = terminal.end();
        assert_eq!(status, 0, "{lines:#?}");
        let [_, total, ..] = row(&lines, "takes_50").unwrap();
        assert!((total - 50.0).abs() < 10.0, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("native stacks:")));
    });
}

/// Of a program that is not Python the functions of C are shown.
#[test]
fn a_c_program() {
    let target = compiled("spin.c").settled();
    let mut terminal = Terminal::start(["top", &target.pid_arg()], USUAL);
    terminal.is_taken();
    terminal.press("2");
    terminal.shows("its function", |lines| {
        row(lines, "spin").filter(|[_, share, ..]| *share > 50.0)
    });
    let lines = terminal.lines();
    assert!(lines[0].starts_with("program (PID "), "{lines:#?}");
    assert!(!lines[0].contains("Python"), "{lines:#?}");
    assert!(lines[2].starts_with("3 threads, "), "{lines:#?}");
    terminal.press("\x03");
    assert_eq!(terminal.end().0, 0);
    assert!(target.end().success());
}

/// Keys work: lines instead of functions, idle threads, help, and back.
#[test]
fn keys() {
    for_every_that("top-keys", is_plain, |python| {
        let target = Target::start(python, "threads.py").settled();
        let mut terminal = Terminal::start(["top", &target.pid_arg()], (50, 100));
        terminal.is_taken();
        let has = |word: &'static str| {
            move |lines: &[String]| lines.iter().any(|line| line.contains(word)).then_some(())
        };
        terminal.shows("rows", has(".py:"));
        let waits = |lines: &[String]| row(lines, "watch_stdin").map(|_| ());
        assert_eq!(waits(&terminal.lines()), None, "{:#?}", terminal.lines());
        terminal.press("i");
        terminal.shows("idle threads", waits);
        terminal.shows("what is shown", has("idle threads too"));
        terminal.press("t");
        terminal.shows("lines", has("Line: function"));
        terminal.press("?");
        terminal.shows("help", has("recursion counts once"));
        terminal.press("x ");
        terminal.shows("a pause", has("PAUSED"));
        terminal.press(" g");
        terminal.shows("who holds the GIL", has("who holds the GIL"));
        terminal.press("q");
        assert_eq!(terminal.end().0, 0);
        assert!(target.end().success());
    });
}

/// On a terminal that is made tiny the hottest function can still be read, and
/// all of it comes back.
#[test]
fn resized() {
    for_every_that("top-resize", is_plain, |python| {
        let target = Target::start(python, "shares.py");
        let mut terminal = Terminal::start(["top", &target.pid_arg()], USUAL);
        terminal.is_taken();
        terminal.shows("rows", |lines| row(lines, "takes_50"));
        terminal.resize(5, 20);
        terminal.shows("five short lines", |lines| {
            let tiny = lines[1] == "   %Own  Function (…";
            (tiny && lines[2].contains("takes_50")).then_some(())
        });
        terminal.resize(50, 200);
        terminal.shows("long lines", |lines| row(lines, "takes_50"));
        terminal.shows("the last line", |lines| {
            lines[49].starts_with("q quit").then_some(())
        });
        terminal.press("q");
        assert_eq!(terminal.end().0, 0);
    });
}

/// When the target is killed the terminal is as before, with the last table and
/// what has happened.
#[test]
fn killed_target() {
    for_every_that("top-killed", is_wanted, |python| {
        let mut target = Target::start(python, "shares.py");
        let terminal = Terminal::start(["top", &target.pid_arg()], USUAL);
        terminal.is_taken();
        terminal.shows("rows", |lines| row(lines, "takes_50"));
        target.kill();
        let (status, lines) = terminal.end();
        assert_eq!(status, 0, "{lines:#?}");
        let said = format!("firefinch: process {} has ended", target.pid());
        assert!(lines.contains(&said), "{lines:#?}");
        assert!(row(&lines, "takes_50").is_some(), "{lines:#?}");
    });
}

/// A target that becomes another program is followed: its name, its version and
/// what it does are there, and what it did before stays.
#[test]
fn exec() {
    for_every_that("top-exec", is_plain, |python| {
        let place = Place::below(python);
        let mut args = python_args(python, "execer.py", &place);
        args.push("--to".into());
        args.push(program_path(python, "shares.py", &place).into());
        let mut shell = to_command(&args);
        prepare(&mut shell, &place);
        let mut target = Target::run(shell, place);
        let mut terminal = Terminal::start(["top", &target.pid_arg()], USUAL);
        terminal.is_taken();
        terminal.shows("rows", |lines| first(lines).map(|_| ()));
        assert!(row(&terminal.lines(), "takes_50").is_none());
        target.tell("\n");
        target.listen();
        terminal.shows("the new program", |lines| row(lines, "takes_50"));
        terminal.press("q");
        assert_eq!(terminal.end().0, 0);
    });
}

/// Signals give the terminal back, two at once as well.
#[test]
fn signals() {
    for_every_that("top-signals", is_plain, |python| {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let target = Target::start(python, "shares.py");
            let terminal = Terminal::start(["top", &target.pid_arg()], USUAL);
            terminal.is_taken();
            terminal.signal(signal);
            terminal.signal(signal);
            let (status, lines) = terminal.end();
            assert_eq!(status, 0, "{lines:#?}");
            assert!(target.end().success());
        }
    });
}

/// Ctrl-Z gives the terminal to the shell, and `fg` takes it back with all that was on
/// it; so does SIGCONT after a stop that left no time for anything.
#[test]
fn suspended() {
    for_every_that("top-suspended", is_plain, |python| {
        let target = Target::start(python, "shares.py");
        let mut terminal = Terminal::start(["top", &target.pid_arg()], USUAL);
        terminal.is_taken();
        terminal.shows("rows", |lines| row(lines, "takes_50"));
        let last_line = |lines: &[String]| lines[23].starts_with("q quit").then_some(());
        for stop in [Some(Signal::SIGTSTP), None] {
            match stop {
                None => {
                    terminal.press("\x1a");
                    terminal.is_suspended();
                }
                Some(signal) => {
                    terminal.signal(signal);
                    eventually("it is stopped", || {
                        let stat = fs::read_to_string(format!("/proc/{}/stat", terminal.pid()));
                        stat.unwrap().contains(") T ").then_some(())
                    });
                    // What a shell's prompt would do to it, in short.
                    terminal.scribble("\x1b[2J");
                    terminal.shows("nothing", |lines| lines[23].is_empty().then_some(()));
                }
            }
            terminal.press("\n");
            terminal.shows("all of it", last_line);
            terminal.is_taken();
            terminal.shows("rows", |lines| row(lines, "takes_50"));
        }
        terminal.press("q");
        assert_eq!(terminal.end().0, 0);
        assert!(target.end().success());
    });
}

/// What a command prints does not get into the picture; its last lines are shown
/// when it has ended, and its exit status is passed on.
#[test]
fn command_that_ends() {
    for_every_that("top-command", is_plain, |python| {
        let place = Place::below(python);
        let mut args = vec!["top".into(), "--".into()];
        args.extend(python_args(python, "exiter.py", &place));
        let exit = ["--no-wait", "--seconds", "3", "--status", "7"];
        args.extend(exit.map(Into::into));
        let terminal = Terminal::start(args, USUAL);
        terminal.is_taken();
        terminal.shows("rows", |lines| row(lines, "short_work"));
        let lines = terminal.lines();
        assert!(
            !lines.iter().any(|line| line.contains("ready")),
            "{lines:#?}"
        );
        let (status, lines) = terminal.end();
        assert_eq!(status, 7, "{lines:#?}");
        let said = lines.iter().any(|line| line.contains("the last lines"));
        assert!(said, "{lines:#?}");
    });
}

/// Quitting ends the command that was started for it.
#[test]
fn command_that_is_quit() {
    let args = ["top", "--", "sh", "-c", "while :; do :; done"];
    let mut terminal = Terminal::start(args, USUAL);
    terminal.is_taken();
    let children = format!("/proc/{0}/task/{0}/children", terminal.pid());
    let child = eventually("the command", || {
        let children = fs::read_to_string(&children).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    });
    terminal.shows("rows", |lines| {
        lines.iter().any(|l| l.contains('%')).then_some(())
    });
    terminal.press("q");
    assert_eq!(terminal.end().0, 0);
    assert!(!fs::exists(format!("/proc/{child}")).unwrap());
}

/// Where there is no terminal, tables of text are written, and a reader that has
/// seen enough ends it.
#[test]
fn text() {
    for_every_that("top-text", is_plain, |python| {
        let target = Target::start(python, "shares.py");
        let running = Running::start(&mut command(["top", &target.pid_arg()]));
        running.sampled();
        running.signal(Signal::SIGINT);
        let run = running.end().succeeded();
        let lines: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
        assert!(row(&lines, "takes_50").is_some(), "{run:#?}");
        assert!(!run.stdout.contains('\x1b'), "{run:#?}");
        let place = target.place();
        let mut shell = Command::new("sh");
        let pipe = r#""$0" top "$1" | head -n 1"#;
        shell.args([
            "-c",
            pipe,
            env!("CARGO_BIN_EXE_firefinch"),
            &target.pid_arg(),
        ]);
        prepare(&mut shell, place);
        let run = Running::start(&mut shell).end().succeeded();
        assert_eq!(run.stdout.lines().count(), 1, "{run:#?}");
    });
}
