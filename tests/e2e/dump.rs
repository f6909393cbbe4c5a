//! `firefinch dump`: every thread, where it is, and what it waits for.

use std::path::Path;

use serde_json::Value;

use crate::support::{
    Dump, Interpreter, Target, Thread, TrueFrame, eventually, firefinch, for_every, for_every_that,
    full_dump, true_stack,
};

/// What time.sleep may call, on one version and C library or another.
const SLEEPS: [&str; 4] = ["clock_nanosleep", "nanosleep", "pselect6", "select"];

/// Dumps a program whose only thread is blocked and compares the whole stack.
fn blocked_stack_is_true(python: &Interpreter, program: &str) {
    let target = Target::start(python, program).settled();
    let dump = full_dump(&target);
    let thread = dump.only();
    thread.assert_stack(&true_stack(&target.truth["stack"]));
    assert_eq!(thread.state, "waiting in read");
    assert_eq!(thread.name, "MainThread");
}

/// A module with a literal of many lines has its line, however long its line
/// table is: 6 MB in 3.10.
#[test]
fn long_literal() {
    let some = |python: &Interpreter| ["2.7", "3.9", "3.10", "3.11"].contains(&&*python.name);
    for_every_that("dump-long-literal", some, |python| {
        blocked_stack_is_true(python, "long_literal.py");
    });
}

/// Of eight threads, each has its name, OS id, state, system call, and every
/// function and line of its stack.
#[test]
fn threads() {
    for_every("dump-threads", |python| {
        let target = Target::start(python, "threads.py").settled();
        let busy = &target.truth["threads"]["busy-worker"];
        // Its first line is the system call in which it says that it is ready.
        let saying = &busy["lines"][1];
        eventually("the busy thread is past its message", || {
            let dump = full_dump(&target);
            let top = dump.thread("busy-worker").frames.first();
            (*saying != top?.line).then_some(())
        });
        // It lets go of the lock for a moment now and then.
        let mut dump = full_dump(&target);
        eventually("the busy thread is seen with the lock", || {
            let holds = dump.thread("busy-worker").state.ends_with("holds the GIL");
            if !holds && !python.free_threaded {
                dump = full_dump(&target);
                return None;
            }
            Some(())
        });
        assert_eq!(dump.python.as_ref(), Some(&python.version));
        assert!(dump.process.starts_with(&format!("{}: /", target.pid())));
        let truth = target.truth["threads"].as_object().unwrap();
        assert_eq!(dump.threads.len(), truth.len(), "{dump:#?}");
        assert_eq!(dump.threads[0].name, "MainThread", "the main thread first");
        for (name, known) in truth {
            let thread = dump.thread(name);
            assert_eq!(thread.id, known["native_id"].as_u64(), "{name}");
            assert_eq!(thread.interpreter, None, "{name}");
            let stack = true_stack(&known["stack"]);
            if known["state"] == "idle" {
                thread.assert_stack(&stack);
                let syscalls = known["syscalls"].as_array().unwrap();
                let call = thread.state.strip_prefix("waiting in ").unwrap_or_default();
                assert!(syscalls.iter().any(|s| s == call), "{name}: {thread:#?}");
            } else {
                assert_busy(python, thread, known, &stack);
            }
        }
    });
}

/// A program of coroutines that come and go has a stack each time one asks, though hardly any
/// look at it shows all of one.
#[test]
fn busy_coroutines() {
    let has_async_generators = |python: &Interpreter| python.minor() >= (3, 6);
    for_every_that("dump-coroutines", has_async_generators, |python| {
        let target = Target::start(python, "coroutine_calls.py").settled();
        for _ in 0..10 {
            let dump = full_dump(&target);
            let frames = &dump.thread("MainThread").frames;
            let Some(oldest) = frames.last() else {
                panic!("{dump:#?}");
            };
            assert_eq!(oldest.name, "<module>", "{dump:#?}");
        }
    });
}

/// The busy thread stands in its function, somewhere, on a stack that stands still.
fn assert_busy(python: &Interpreter, thread: &Thread, known: &Value, below: &[TrueFrame]) {
    let expected = if python.free_threaded {
        "running"
    } else {
        "running, holds the GIL"
    };
    assert_eq!(thread.state, expected);
    let (top, rest) = thread.frames.split_first().expect("it has frames");
    assert_eq!(top.name, known["busy"].as_str().unwrap());
    let lines = known["lines"].as_array().unwrap();
    assert!(
        lines.iter().any(|line| *line == top.line),
        "{top:?} {lines:?}"
    );
    assert_eq!(rest, below);
}

/// Without --full-filenames a script is called by its own name and a module of
/// the standard library as it is imported.
#[test]
fn short_file_names() {
    for_every("dump-short-names", |python| {
        let target = Target::start(python, "threads.py").settled();
        let run = firefinch(["dump", "--pid", &target.pid_arg()]).succeeded();
        let dump = Dump::parse(&run.stdout);
        for (name, known) in target.truth["threads"].as_object().unwrap() {
            let stack = true_stack(&known["stack"]);
            let thread = dump.thread(name);
            let shown = thread.frames.iter().rev().zip(stack.iter().rev());
            for (shown, known) in shown {
                let base = Path::new(&known.file).file_name().unwrap();
                assert_eq!(Path::new(&shown.file), Path::new(base), "{known:?}");
            }
        }
    });
}

/// Classes, closures, lambdas, 5,000 characters, names beyond ASCII and beyond
/// the BMP, and paths that are long or not ASCII are shown as they are.
#[test]
fn names() {
    for_every("dump-names", |python| {
        blocked_stack_is_true(python, "names.py");
    });
}

/// Generators that drive generators appear as they run, each at its line.
#[test]
fn generators() {
    for_every("dump-generators", |python| {
        blocked_stack_is_true(python, "generators.py");
    });
}

/// Coroutines, `yield from` and async generators appear as they run.
#[test]
fn coroutines() {
    for_every_that(
        "dump-coroutines",
        |python| python.minor() >= (3, 6),
        |python| blocked_stack_is_true(python, "generators_py3.py"),
    );
}

/// Every line is the one that the interpreter itself computes, also where a
/// line table is hard to read: calls over several lines, lines that go back,
/// wide lines, large gaps, line numbers above 100,000.
#[test]
fn lines() {
    for_every("dump-lines", |python| {
        blocked_stack_is_true(python, "multiline.py");
    });
}

/// Two hundred sleepers are all there, each asleep where it says.
#[test]
fn many_threads() {
    for_every("dump-many-threads", |python| {
        let target = Target::start(python, "idle.py").settled();
        let dump = full_dump(&target);
        let truth = &target.truth;
        let sleepers = truth["sleepers"].as_u64().unwrap();
        assert_eq!(dump.threads.len() as u64, sleepers + 1);
        for number in 0..sleepers {
            let thread = dump.thread(&format!("sleeper-{number}"));
            let top = &thread.frames[0];
            assert_eq!((&*top.name, top.line), place(&truth["sleeper"]));
            let sleep = thread.state.strip_prefix("waiting in ").unwrap_or_default();
            assert!(SLEEPS.contains(&sleep), "{thread:#?}");
        }
        let main = dump.thread("MainThread");
        let top = &main.frames[0];
        assert_eq!((&*top.name, top.line), place(&truth["main"]));
        assert_eq!(main.state, "waiting in read");
    });
}

/// `[function, line]`
fn place(truth: &Value) -> (&str, u64) {
    (truth[0].as_str().unwrap(), truth[1].as_u64().unwrap())
}

/// A signal handler that a second signal interrupted stands above what it interrupted.
#[test]
fn signals() {
    for_every("dump-signals", |python| {
        let target = Target::start(python, "signals.py").settled();
        let dump = full_dump(&target);
        let thread = dump.thread("MainThread");
        thread.assert_stack(&true_stack(&target.truth["stack"]));
        assert_eq!(thread.state, "waiting in read");
    });
}

/// A recursion of 20,000 calls is shown whole, with every line right.
#[test]
fn recursion() {
    for_every("dump-recursion", |python| {
        let target = Target::start(python, "recursion.py").settled();
        let dump = full_dump(&target);
        let thread = dump.thread("diver");
        let mut shown = thread.frames.iter().rev();
        let mut total = 0;
        for run in target.truth["runs"].as_array().unwrap() {
            let (name, line) = (run[0].as_str().unwrap(), run[1].as_u64().unwrap());
            for _ in 0..run[2].as_u64().unwrap() {
                let frame = shown.next().expect("as many frames as there are");
                let plain = frame.name.rsplit('.').next();
                assert_eq!((plain, frame.line), (Some(name), line), "frame {total}");
                total += 1;
            }
        }
        assert_eq!(thread.state, "waiting in read");
        assert_eq!(shown.next(), None);
        assert!(total > 20_000);
    });
}
