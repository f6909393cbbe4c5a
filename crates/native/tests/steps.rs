//! Every instruction of a program: whatever it stands at, its callers are known.
#![cfg(target_arch = "x86_64")]

mod support;

use firefinch_native::{DebugPlaces, Frame, arch::x86_64::X86_64};
use firefinch_native::{Modules, Status, Symbolizer, Unwinder};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use support::build::Program;
use support::files::mappings;
use support::oracle::Oracle;
use support::target::{Sample, Target, addresses, assert_same};

/// Steps a stopped program through all it does, and shows each moment.
fn every_step(target: &Target, mut look: impl FnMut(&Sample)) {
    let pid = Pid::from_raw(target.pid());
    ptrace::seize(pid, ptrace::Options::empty()).expect("ours");
    waitpid(pid, Some(WaitPidFlag::__WALL)).expect("stopped");
    kill(pid, Signal::SIGCONT).expect("ours");
    let mut signal = None;
    loop {
        ptrace::step(pid, signal.take()).expect("stopped");
        match waitpid(pid, Some(WaitPidFlag::__WALL)).expect("ours") {
            WaitStatus::Exited(..) => return,
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, other) => signal = Some(other),
            _ => {}
        }
        look(&target.sample_traced(target.pid(), 8192));
    }
}

/// The symbol table's names of the program's own functions on a stack.
fn names(modules: &Modules, symbolizer: &mut Symbolizer, frames: &[Frame]) -> Vec<String> {
    let located = frames
        .iter()
        .filter_map(|f| modules.locate(f.address.lookup()));
    let own = located.filter(|l| l.module.name() == "program");
    own.map(|l| {
        symbolizer.resolve(l.module, l.address, modules.objects())[0]
            .name
            .to_string()
    })
    .collect()
}

/// At each instruction from SIGSTOP to the end, through prologues, realigned stacks, lazy binding, the vDSO and a signal handler, the stack reaches the same root; and where another unwinder reaches the root too, it has found the same stack.
#[test]
fn every_instruction() {
    let program = Program::build("steps.c", &["-O2", "-Wl,-z,lazy", "-lm"]);
    let target = Target::start(&program);
    let (_, files) = target.modules();
    let mut oracle = Oracle::new(&mappings(&target.process).0, &files);
    let mut unwinder: Unwinder = target.unwinder();
    let mut symbolizer = Symbolizer::new(&X86_64, DebugPlaces::default());
    let (before, outcome) = target
        .sample(target.pid())
        .unwind(&mut unwinder, &target.memory);
    assert!(outcome.is_certain());
    let root = addresses(&before[before.len() - 2..]);
    let (mut steps, mut deepest, mut same, mut realigned) = (0, 0, 0, 0);
    every_step(&target, |sample| {
        let (frames, outcome) = sample.unwind(&mut unwinder, &target.memory);
        let found = addresses(&frames);
        assert!(
            outcome.status == Status::Rooted && found.ends_with(&root),
            "step {steps}: {outcome:?}\n{frames:#?}"
        );
        steps += 1;
        deepest = deepest.max(frames.len());
        // The other one reads no memory in expressions.
        let modules = unwinder.modules();
        if names(modules, &mut symbolizer, &frames)
            .iter()
            .any(|name| name == "realigned")
        {
            realigned += 1;
        } else if let Some(theirs) = oracle.unwind(sample) {
            assert_same(&found, &theirs);
            same += 1;
        }
    });
    println!("{steps} steps, {same} the same, {realigned} realigned, {deepest} deep");
    // It gives up on what lazy binding does, whose CFA is another register.
    assert!(steps > 4000 && realigned > 1000 && same > 500 && deepest > 8);
}
