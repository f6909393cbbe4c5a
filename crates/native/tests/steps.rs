//! Every instruction of a program: whatever it stands at, its callers are known.
#![cfg(target_arch = "x86_64")]

mod support;

use std::sync::Arc;

use firefinch_native::{DebugPlaces, Frame, arch::x86_64::X86_64};
use firefinch_native::{Limits, Modules, Status, Symbolizer, Unwinder};
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

/// Without any unwind information, of the program, the C library and the linker, what the code says is true at nearly every instruction: frames that are found are those of the stack, and nearly always up to `main`.
#[test]
fn by_code_alone() {
    let program = Program::build("steps.c", &["-O2", "-Wl,-z,now", "-lm"]);
    let target = Target::start(&program);
    let mut unwinder: Unwinder = target.unwinder();
    let (mappings, mut files) = mappings(&target.process);
    files.undescribed = true;
    let modules = Modules::new(&X86_64, mappings, Arc::new(files));
    let mut blind = Unwinder::new(modules, Limits::default());
    let (mut steps, mut whole, mut wrong) = (0, 0, 0);
    every_step(&target, |sample| {
        let (truth, _) = sample.unwind(&mut unwinder, &target.memory);
        let (frames, outcome) = sample.unwind(&mut blind, &target.memory);
        steps += 1;
        let (truth, found) = (addresses(&truth), addresses(&frames));
        // `main` never returns, so its caller is not looked for.
        whole += u32::from(found.len() + 3 >= truth.len());
        if !truth.starts_with(&found) {
            wrong += 1;
            println!("{truth:#x?}\n{frames:#x?}");
        } else if found.len() + 3 < truth.len() {
            println!("{outcome:#x?} {:#x?}", found.last());
        }
    });
    println!("{steps} steps, {whole} whole, {wrong} wrong");
    assert!(steps > 800 && whole * 100 > steps * 95);
    // Where `realigned` has set up its frame pointer and not yet saved what its
    // caller's stack is found by.
    assert!(wrong <= 1);
}
