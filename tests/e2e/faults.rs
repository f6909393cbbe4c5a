//! What firefinch cannot do, and how it says so: three lines and an exit code.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    Collapsed, Dump, Interpreter, Nobody, Running, Target, command, eventually, firefinch,
    for_every_that, is_left_out_without_root, is_one_of_few, true_stack,
};

/// Larger than any PID: the kernel's own limit (PID_MAX_LIMIT,
/// include/linux/threads.h in Linux 6.12).
pub(crate) const NO_SUCH_PID: &str = "4194304";

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

/// The kernel's threads are refused.
#[test]
fn kernel_threads() {
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

/// What was asked for wrongly is refused as wrong usage, before anything runs.
#[test]
fn wrong_usage() {
    let target = busy_target();
    let pid = target.pid_arg();
    let place = tempfile::tempdir().unwrap();
    for (wrong, word) in [
        (&["--rate", "0"][..], "0"),
        (&["-r", "many"], "many"),
        (&["-r", "-1"], "-1"),
        (&["-d", "-5"], "-5"),
        (&["-d=-5"], "-5"),
        (&["-d", "0"], "0"),
        (&["-d", "soon"], "soon"),
        (&["-d", "inf"], "inf"),
        (&["-f", "jpeg"], "jpeg"),
        (&["-o", "out.jpeg"], "jpeg"),
        (&["-p", "0"], "0"),
        (&["-p", "-7"], "-7"),
        (&["-p", "self"], "self"),
        (&["--blocking", "--nonblocking"], "--nonblocking"),
        (&["-F", "--nolineno"], "--nolineno"),
        (&["--frobnicate"], "--frobnicate"),
    ] {
        let mut command = command(["record"]);
        command.args(wrong).current_dir(place.path());
        if wrong[0] != "-p" {
            command.args(["-p", &pid]);
        }
        let run = Running::start(&mut command).end();
        run.failed_with(2);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains(word), "{wrong:?}: {run:#?}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{wrong:?}");
    }
    for nothing_to_do in [&["record"][..], &["dump"], &["frobnicate"]] {
        firefinch(nothing_to_do).failed_with(2);
    }
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

/// Every exit code that these tests meet is in the help.
#[test]
fn exit_codes_are_documented() {
    let help = firefinch(["--help"]).succeeded().stdout;
    let codes = help.split("Exit codes:").nth(1).expect("a list of them");
    for code in 0..=4 {
        let line = format!("\n  {code}  ");
        assert!(codes.contains(&line), "{code}: {help}");
    }
    assert!(codes.contains("128 + N"), "{help}");
}

/// What Linux systems call the user without rights, beside its number.
const OTHER: [&str; 2] = ["nobody", "65534"];

/// Another user's process is refused with the error, the step, the cause and
/// the remedy.
#[test]
fn not_permitted() {
    // Without root there is no second user to be refused as.
    if is_left_out_without_root("not-permitted") {
        return;
    }
    let nobody = Nobody::new();
    for_every_that("not-permitted", is_one_of_few, |python| {
        let target = Target::start(python, "shares.py").settled();
        for args in [&["dump"][..], &["record", "-d", "1", "-o", "-"]] {
            let mut asked = command(args);
            asked.arg(target.pid_arg());
            let run = Running::start(&mut nobody.command(&asked)).end();
            run.failed_with(1);
            assert_eq!(run.stdout, "");
            let said = &run.stderr;
            assert!(said.contains("EACCES") || said.contains("EPERM"), "{said}");
            assert!(said.contains("memory"), "the step: {said}");
            assert!(
                said.contains("root") && OTHER.iter().any(|name| said.contains(name)),
                "the cause: {said}"
            );
            let remedy = said.lines().last().unwrap();
            assert!(remedy.contains("sudo") || remedy.contains("root"), "{said}");
        }
    });
}
