//! Stacks of real programs, against what their sources say and what gdb sees.
#![cfg(target_arch = "x86_64")]

mod support;

use std::process::Command;

use firefinch_native::{
    CodeAddress, Frame, Outcome, Registers, Status, Unwinder, Via, arch::x86_64,
};
use support::build::Program;
use support::gdb;
use support::target::{Target, addresses, assert_same};

/// Unwinds every thread of a stopped target and compares with gdb; returns the
/// number of frames of each.
fn agrees_with_gdb(target: &Target) -> Vec<usize> {
    let mut unwinder = target.unwinder();
    let stacks: Vec<_> = target
        .threads()
        .into_iter()
        .map(|tid| (tid, target.sample(tid)))
        .collect();
    let expected = gdb::stacks(target.pid());
    let mut counts = Vec::new();
    for (tid, sample) in stacks {
        let (frames, outcome) = sample.unwind(&mut unwinder, &target.memory);
        assert_eq!(outcome.status, Status::Rooted, "at {:?}", frames.last());
        assert_eq!(outcome.by_frame_pointer + outcome.by_search, 0);
        counts.push(frames.len());
        if let Some(expected) = &expected {
            let expected: Vec<u64> = expected[&tid].iter().map(|f| f.pc).collect();
            assert_same(&addresses(&frames), &expected);
        }
    }
    counts
}

/// An ordinary stack is found to its root, with and without frame pointers, optimization, position independence and symbols, as gdb finds it.
#[test]
fn ordinary_stacks() {
    for flags in [
        &["-O2"][..],
        &["-O2", "-fno-omit-frame-pointer", "-no-pie"],
        &["-O0", "-static"],
        &["-O3", "-s"],
    ] {
        let program = Program::build("chain.c", flags);
        let target = Target::start(&program);
        let counts = agrees_with_gdb(&target);
        assert!(counts[0] >= 7, "{flags:?} {counts:?}");
    }
}

/// A signal handler's stack goes on in the function it interrupted, also from a stack of its own.
#[test]
fn signal_handlers() {
    let program = Program::build("signal.c", &["-O2"]);
    for argument in [None, Some("own stack")] {
        let target = Target::run(Command::new(&program.path).args(argument));
        agrees_with_gdb(&target);
        let (frames, _) = target
            .sample(target.pid())
            .unwind(&mut target.unwinder(), &target.memory);
        let interrupted = frames.iter().skip(1);
        let interrupted = interrupted.filter(|f| matches!(f.address, CodeAddress::Instruction(_)));
        // What the handler returns to, which nobody called, and what it interrupted.
        assert_eq!(interrupted.count(), 2);
    }
}

/// What a handler returns to is known by its code alone, as in a C library that does not describe it. (gdb goes by its name.)
#[test]
fn undescribed_restorer() {
    let program = Program::build("restorer.c", &["-O2"]);
    let target = Target::start(&program);
    let sample = target.sample(target.pid());
    let (frames, outcome) = sample.unwind(&mut target.unwinder(), &target.memory);
    assert!(outcome.is_certain(), "{outcome:?}");
    assert!(frames.iter().any(|f| f.via == Via::KnownCode));
    let (symbols, _) = target.symbols(None);
    let names: Vec<&str> = symbols.iter().map(|symbol| &*symbol.name).collect();
    assert_eq!(names, ["handler", "restorer", "work", "main", "_start"]);
}

/// A stack of far more than 64 KB is found to its root, whether it was copied whole or is read bit by bit.
#[test]
fn deep_recursion() {
    let program = Program::build("deep.c", &["-O2", "-fno-optimize-sibling-calls"]);
    let target = Target::start(&program);
    let counts = agrees_with_gdb(&target);
    assert!(counts[0] > 1000);
    let mut sample = target.sample(target.pid());
    assert!(sample.stack.len() > 200 * 1000);
    let whole = sample.unwind(&mut target.unwinder(), &target.memory);
    assert_eq!(whole.1.outside_reads, 0);
    sample.stack.truncate(100);
    let part = sample.unwind(&mut target.unwinder(), &target.memory);
    assert_eq!(whole.0, part.0);
    assert!((50..100).contains(&part.1.outside_reads), "{:?}", part.1);
}

/// Every thread ends where the C library starts threads.
#[test]
fn threads() {
    let program = Program::build("threads.c", &["-O2", "-pthread"]);
    let target = Target::start(&program);
    let counts = agrees_with_gdb(&target);
    assert_eq!(counts.len(), 5);
}

/// Unwinds a program's stack with all registers, and with SP and the instruction pointer alone.
fn with_two_registers(source: &str, flags: &[&str]) -> [(Vec<Frame>, Outcome); 2] {
    let program = Program::build(source, flags);
    let target = Target::start(&program);
    let mut sample = target.sample(target.pid());
    let whole = sample.unwind(&mut target.unwinder(), &target.memory);
    assert!(whole.1.is_certain());
    sample.registers = Registers::new();
    sample.registers.set(x86_64::RSP, sample.stack_start);
    let part = sample.unwind(&mut target.unwinder(), &target.memory);
    [whole, part]
}

/// SP and the instruction pointer alone are enough where no frame pointers are kept.
#[test]
fn two_registers() {
    let [whole, part] = with_two_registers("chain.c", &["-O2"]);
    assert_eq!(whole, part);
}

/// Where frame pointers are kept, the one that is not known is found: by how large its function makes its frame, or else as the only one that leads to the root; and the frame found so is marked.
#[test]
fn unknown_frame_pointer() {
    for optimize in ["-O0", "-O1", "-O2", "-O3"] {
        for room in ["-DFIXED", "-DFLEXIBLE"] {
            let flags = [optimize, room, "-fno-omit-frame-pointer"];
            let [whole, part] = with_two_registers("room.c", &flags);
            assert_eq!(part.1.status, Status::Rooted, "{flags:?}");
            assert_same(&addresses(&part.0), &addresses(&whole.0));
            assert_eq!((part.1.by_search, whole.1.by_search), (1, 0));
        }
    }
}

/// What only the file of debug information says of frames is as good as what the program says itself, and unwound by without a mark.
#[test]
fn described_apart() {
    let flags = [
        "-O2",
        "-g",
        "-fno-asynchronous-unwind-tables",
        "-Wl,--build-id=0xabcd",
    ];
    let program = Program::build("chain.c", &flags);
    let unwound = |target: &Target, mut unwinder: Unwinder| {
        let sample = target.sample(target.pid());
        sample.unwind(&mut unwinder, &target.memory)
    };
    let by_table = |frames: &[Frame]| {
        let frames = frames.iter();
        frames.filter(|frame| frame.via == Via::UnwindInfo).count()
    };
    let target = Target::start(&program);
    let (whole, outcome) = unwound(&target, target.unwinder());
    assert!(outcome.is_certain(), "{whole:#?}");
    drop(target);
    let root = program.dir.path().join("roots");
    let debug = root.join("target/usr/lib/debug/.build-id/ab/cd.debug");
    program.split(&debug);
    let target = Target::start(&program);
    let (frames, outcome) = unwound(&target, target.unwinder());
    assert!(!outcome.is_certain(), "{frames:#?}");
    let (frames, outcome) = unwound(&target, target.unwinder_with(root));
    assert!(outcome.is_certain(), "{frames:#?}");
    assert_eq!(frames.len(), whole.len());
    assert_eq!(by_table(&frames), by_table(&whole));
}

/// Without unwind information functions are followed to where they return, and the frames found so are marked.
#[test]
fn no_unwind_information() {
    for pointers in ["-fno-omit-frame-pointer", "-fomit-frame-pointer"] {
        let flags = ["-O1", pointers, "-fno-asynchronous-unwind-tables"];
        let program = Program::build("chain.c", &flags);
        let target = Target::start(&program);
        let (frames, outcome) = target
            .sample(target.pid())
            .unwind(&mut target.unwinder(), &target.memory);
        assert_eq!(outcome.status, Status::Rooted, "{frames:#?}");
        let marked = frames.iter().filter(|f| f.via == Via::Code).count();
        assert_eq!((marked, outcome.by_code), (4, 4));
        assert!(!outcome.is_certain());
        let (symbols, _) = target.symbols(None);
        let names: Vec<&str> = symbols.iter().map(|symbol| &*symbol.name).collect();
        assert_eq!(names, ["inner", "middle", "outer", "main", "_start"]);
    }
}
