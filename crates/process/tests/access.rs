//! Who may look at whom, and the reasons that are given for a refusal.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{TARGET, Target, copy_program, may_act_as_root, patience};
use firefinch_process::{Cause, Diagnosis, Pid, Stopper};

/// The target's executable where every user can reach it.
struct Public {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Public {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), all).expect("ours");
        let path = dir.path().join("target");
        copy_program(Path::new(TARGET), &path);
        Self { _dir: dir, path }
    }

    /// Starts it through another program, with these arguments before its own.
    fn through(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).arg(&self.path).current_dir("/");
        command
    }
}

const NOBODY: &[&str] = &["--reuid=65534", "--regid=65534", "--clear-groups"];

/// What another process finds out about `pid`: the cause, and what came of
/// opening its memory.
fn diagnose(mut command: Command, pid: Pid) -> (String, String) {
    let command = command.arg("diagnose").arg(pid.to_string());
    let output = command.output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines = text.lines().map(str::to_owned);
    let mut next = || {
        lines
            .next()
            .unwrap_or_else(|| panic!("{:?}", output.stderr))
    };
    (next(), next())
}

fn some(cause: &str) -> String {
    format!("Some({cause})")
}

/// The owner of a process is permitted everything.
#[test]
fn ones_own_process() {
    let target = Target::start();
    let diagnosis = Diagnosis::of(target.pid());
    assert_eq!(diagnosis.cause, None, "{diagnosis:?}");
    assert_eq!(diagnosis.remedy(), None);
}

/// Another user is refused, and both users are named; the same user is not refused.
#[test]
fn another_user() {
    if !may_act_as_root() {
        return;
    }
    let target = Target::start();
    let public = Public::new();
    let (cause, memory) = diagnose(public.through("setpriv", NOBODY), target.pid());
    let expected = "DifferentUser { ours: Uid(65534), theirs: Uid(0) }";
    assert_eq!(cause, some(expected));
    assert!(
        memory.ends_with("reading its memory map: EACCES, Permission denied"),
        "{memory}"
    );
    let same = Target::run(&mut public.through("setpriv", NOBODY));
    let (cause, memory) = diagnose(public.through("setpriv", NOBODY), same.pid());
    assert_eq!((cause.as_str(), memory.as_str()), ("None", "Mem"));
}

/// A process that closed itself to inspection is recognised as such.
#[test]
fn not_dumpable() {
    if !may_act_as_root() {
        return;
    }
    let public = Public::new();
    let mut target = Target::run(&mut public.through("setpriv", NOBODY));
    target.order("close");
    let (cause, _) = diagnose(public.through("setpriv", NOBODY), target.pid());
    assert_eq!(cause, some("NotDumpable"));
    // Root is permitted nevertheless.
    assert_eq!(Diagnosis::of(target.pid()).cause, None);
}

/// A process of the same user with a capability more is recognised as such.
#[test]
fn more_capabilities() {
    if !may_act_as_root() {
        return;
    }
    let public = Public::new();
    let capable = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw"];
    let capable = [NOBODY, &capable].concat();
    let target = Target::run(&mut public.through("setpriv", &capable));
    let (cause, _) = diagnose(public.through("setpriv", NOBODY), target.pid());
    assert_eq!(cause, some("MoreCapabilities"));
}

/// The same user in another group is refused for the group.
#[test]
fn another_group() {
    if !may_act_as_root() {
        return;
    }
    let public = Public::new();
    let target = Target::run(&mut public.through("setpriv", NOBODY));
    let group = ["--reuid=65534", "--regid=4", "--clear-groups"];
    let (cause, _) = diagnose(public.through("setpriv", &group), target.pid());
    let expected = "DifferentGroup { ours: Gid(4), theirs: Gid(65534) }";
    assert_eq!(cause, some(expected));
}

/// Root of a user namespace is refused what lives outside of it, and told why.
#[test]
fn another_user_namespace() {
    if !may_act_as_root() {
        return;
    }
    let public = Public::new();
    let target = Target::start();
    let inside = public.through("unshare", &["--user", "--map-root-user"]);
    let (cause, _) = diagnose(inside, target.pid());
    assert_eq!(cause, some("UserNamespace"));
}

/// Without CAP_DAC_OVERRIDE `mem` of another user's process cannot be opened, but its memory is read all the same.
#[test]
fn ptrace_capability_alone() {
    if !may_act_as_root() {
        return;
    }
    let public = Public::new();
    let target = Target::run(&mut public.through("setpriv", NOBODY));
    let only = ["--bounding-set=-all,+sys_ptrace", "--inh-caps=-all"];
    let (cause, memory) = diagnose(public.through("setpriv", &only), target.pid());
    assert_eq!(
        (cause.as_str(), memory.as_str()),
        ("None", "ProcessVmReadv")
    );
}

/// A number that nobody has is no refusal.
#[test]
fn nobody_there() {
    let pid = Pid::new((1 << 22) + 1).unwrap();
    assert_eq!(Diagnosis::of(pid).cause, Some(Cause::OtherPidNamespace));
}

/// Where another tracer is attached it is named by its process, not by its thread.
#[test]
fn already_traced() {
    let target = Target::start();
    let process = target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    let stopped = stopper.stop_threads(&process.threads().unwrap(), patience());
    assert!(stopped.is_complete());
    let own = Pid::new(nix::unistd::getpid().as_raw()).unwrap();
    let cause = Diagnosis::of(target.pid()).cause;
    assert_eq!(cause, Some(Cause::AlreadyTraced(own)));
}
