//! Every instruction of a program: whatever it stands at, its callers are known.
#![cfg(target_arch = "x86_64")]

mod support;

use firefinch_native::Status;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::build::Program;
use support::target::{Target, addresses};

/// At each instruction from SIGSTOP to the end, through prologues, realigned stacks, lazy binding, the vDSO and a signal handler, the stack reaches the same root.
#[test]
fn every_instruction() {
    let program = Program::build("steps.c", &["-O2", "-Wl,-z,lazy", "-lm"]);
    let target = Target::start(&program);
    let mut unwinder = target.unwinder();
    let tid = target.pid();
    let (before, outcome) = target.sample(tid).unwind(&mut unwinder, &target.memory);
    assert!(outcome.is_certain());
    let root = addresses(&before[before.len() - 2..]);
    let mut steps = 0;
    let mut deepest = 0;
    let pid = Pid::from_raw(tid);
    ptrace::seize(pid, ptrace::Options::empty()).expect("ours");
    waitpid(pid, Some(WaitPidFlag::__WALL)).expect("stopped");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("ours");
    let mut signal = None;
    loop {
        ptrace::step(pid, signal.take()).expect("stopped");
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("ours") {
            WaitStatus::Exited(..) => break,
            WaitStatus::Stopped(_, nix::sys::signal::Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, other) => signal = Some(other),
            _ => {}
        }
        let sample = target.sample_traced(tid, 8192);
        let (frames, outcome) = sample.unwind(&mut unwinder, &target.memory);
        let found = addresses(&frames);
        assert!(
            outcome.status == Status::Rooted && found.ends_with(&root),
            "step {steps}: {outcome:?}\n{frames:#?}"
        );
        steps += 1;
        deepest = deepest.max(frames.len());
    }
    assert!(steps > 4_000, "{steps}");
    assert!(deepest > 8, "{deepest}");
}
