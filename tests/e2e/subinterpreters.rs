//! More than one interpreter in a process.

use serde_json::Value;

use crate::record::{label, labels, record};
use crate::support::{
    Interpreter, Target, Thread, for_every_that, full_dump, is_one_of_few, true_stack,
};

/// With a GIL of their own (3.12 and later), or all with the main one's.
const VARIANTS: [&[&str]; 2] = [&[], &["--shared-gil"]];

/// CPython had `_xxsubinterpreters` first in 3.8.
fn has_them(python: &Interpreter) -> bool {
    python.minor() >= (3, 8)
}

/// Whether a thread state of a subinterpreter knows its OS thread: before 3.13
/// it has the one that made the subinterpreter, which may be another
/// (`PyThreadState_Swap` in Python/pystate.c of 3.12 does not write it anew).
fn knows_threads(python: &Interpreter) -> bool {
    python.minor() >= (3, 13)
}

/// Returns once every thread that will wait does.
fn started(python: &Interpreter, options: &[&str]) -> Target {
    let target = Target::start_with(python, "subinterpreters.py", options).settled();
    let blocked = &target.truth["threads"]["sub-blocked"];
    target.thread_reads(blocked["native_id"].as_u64().unwrap());
    target
}

fn threads(target: &Target) -> impl Iterator<Item = (&String, &Value)> {
    target.truth["threads"].as_object().unwrap().iter()
}

/// Each subinterpreter's thread is shown, under its number, at its whole
/// stack; where its OS thread is not known, no other is shown in its place.
#[test]
fn dump() {
    for options in VARIANTS {
        let topic = format!("dump-subinterpreters{}", options.concat());
        for_every_that(&topic, has_them, |python| {
            let target = started(python, options);
            let dump = full_dump(&target);
            for (name, known) in threads(&target) {
                let number = known["interpreter"].as_u64();
                let thread = dump.threads.iter().find(|t| t.interpreter == number);
                let thread = thread.unwrap_or_else(|| panic!("{known} in {dump:#?}"));
                let native = known["native_id"].as_u64();
                let unknown = thread.id.is_none() && !knows_threads(python);
                assert!(thread.id == native || unknown, "{known}: {dump:#?}");
                assert!(thread.name == *name || unknown, "{known}: {dump:#?}");
                let stack = true_stack(&known["stack"]);
                match known["busy"].as_str() {
                    Some(busy) => {
                        let (top, rest) = thread.frames.split_first().unwrap();
                        assert_eq!((&*top.name, rest), (busy, &stack[..]));
                        assert!(!thread.state.starts_with("waiting in read"), "{dump:#?}");
                    }
                    None => {
                        thread.assert_stack(&stack);
                        assert!(thread.state == "waiting in read" || unknown, "{dump:#?}");
                    }
                }
                // The same OS thread waits in the main interpreter.
                let is_below = |t: &&Thread| t.name == *name && t.interpreter.is_none();
                let below = dump.threads.iter().find(is_below);
                let below = below.unwrap_or_else(|| panic!("{name} in {dump:#?}"));
                assert_eq!(below.id, native, "{dump:#?}");
                below.assert_stack(&true_stack(&known["under"]));
            }
            let main = dump
                .threads
                .iter()
                .find(|t| t.id.is_some_and(|id| id.to_string() == target.pid_arg()));
            let main = main.unwrap_or_else(|| panic!("the main thread in {dump:#?}"));
            assert_eq!((&*main.name, main.interpreter), ("MainThread", None));
            assert_eq!(main.state, "waiting in read");
        });
    }
}

/// Each subinterpreter is sampled at its true stack, the busy one without -i too.
#[test]
fn samples() {
    for options in VARIANTS {
        let topic = format!("record-subinterpreters{}", options.concat());
        let can = |python: &Interpreter| {
            has_them(python) && (options.is_empty() || is_one_of_few(python))
        };
        for_every_that(&topic, can, |python| {
            let target = started(python, options);
            for idle in [true, false] {
                let mut asked = vec!["-t", "-d", "0.4", "-r", "100"];
                asked.extend(idle.then_some("-i"));
                let (collapsed, _) = record(&target, &asked);
                for (_, known) in threads(&target) {
                    let stack = labels(&known["stack"], label);
                    let root = format!("thread {} ", known["native_id"]);
                    let busy = known["busy"].as_str();
                    let seen = collapsed.count(|frames| {
                        let (first, rest) = frames.split_first().unwrap();
                        let is_root = first.starts_with(&root) || !knows_threads(python);
                        let height = stack.len() + usize::from(busy.is_some());
                        is_root && rest.len() == height && rest.starts_with(&stack)
                    });
                    match (idle, busy) {
                        (true, _) | (_, Some(_)) => {
                            assert!(seen >= 10, "{seen} of {known}: {collapsed:#?}");
                        }
                        (false, None) if knows_threads(python) => {
                            assert_eq!(seen, 0, "{known}: {collapsed:#?}");
                        }
                        (false, None) => {}
                    }
                }
            }
        });
    }
}
