//! `firefinch ps`: what can be profiled here.

use std::fs;
use std::process::Command;

use crate::support::{
    Interpreter, Place, Target, firefinch, for_every, prepare, python_args, to_command,
};

/// The line of a process.
fn line_of(pid: i32) -> Vec<String> {
    let run = firefinch(["ps"]).succeeded();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    let lines = run.stdout.lines().map(words);
    let found = lines.filter(|words: &Vec<String>| words.first() == Some(&pid.to_string()));
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1, "process {pid} in\n{}", run.stdout);
    found.into_iter().next().unwrap()
}

/// Every interpreter is listed with its user, version and command, and
/// nothing of its environment.
#[test]
fn interpreters() {
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    for_every("ps", |python| {
        let place = Place::below(python);
        let mut command = to_command(&python_args(python, "till.py", &place));
        command.env("TOKEN", "kept-to-itself");
        prepare(&mut command, &place);
        let target = Target::run(command, place).settled();
        let words = line_of(target.pid());
        assert_eq!(words[1..3], [user.trim(), &python.version]);
        let shown = words[4..].join(" ");
        let cmdline = fs::read(format!("/proc/{}/cmdline", target.pid())).unwrap();
        let cmdline = String::from_utf8(cmdline).unwrap().replace('\0', " ");
        let (program, arguments) = cmdline.trim_end().split_once(' ').unwrap();
        let base = program.rsplit('/').next().unwrap();
        let whole = format!("{base} {arguments}");
        let cut = shown
            .strip_suffix('…')
            .is_some_and(|cut| whole.starts_with(cut));
        assert!(shown == whole || cut, "{shown}");
        assert!(!words.join(" ").contains("kept-to-itself"), "{words:?}");
    });
}

/// A command looks like no other one, whatever is in its arguments.
#[test]
fn misleading_commands() {
    let python = &Interpreter::all()[0];
    let place = Place::below(python);
    let mut command = to_command(&python_args(python, "till.py", &place));
    command.args(["\u{202e}gpj.exe", "\u{1b}[2J"]);
    prepare(&mut command, &place);
    let target = Target::run(command, place).settled();
    let line = line_of(target.pid()).join(" ");
    assert!(line.contains("\u{fffd}gpj.exe \u{fffd}[2J"), "{line:?}");
    assert!(!line.contains(['\u{202e}', '\u{1b}']), "{line:?}");
}

/// What is not Python is not listed.
#[test]
fn other_programs() {
    let place = Place::below(&Interpreter::all()[0]);
    let mut other = Command::new("sh");
    // It has "python" in its arguments, and is none.
    let script = r#"echo "ready x"; echo "truth {}"; read line"#;
    other.args(["-c", script, "python3", "till.py"]);
    let other = Target::run(other, place).settled();
    let run = firefinch(["ps"]).succeeded();
    let mut words = run.stdout.split_whitespace();
    assert!(words.all(|word| word != other.pid_arg()), "{}", run.stdout);
}
