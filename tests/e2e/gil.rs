//! `firefinch record -g`: who holds the GIL.

use crate::record::record;
use crate::support::{Interpreter, Target, for_every_that};

/// Of threads that compete for the GIL, -g shows the one that holds it, never
/// two at a time, and not the one that has given it up to compute. The one that holds it
/// in C is seen, though there it never says so.
#[test]
fn gil_holder_only() {
    let has_gil = |python: &Interpreter| !python.free_threaded;
    for_every_that("record-gil", has_gil, |python| {
        let target = Target::start(python, "gil.py").settled();
        let (collapsed, _) = record(&target, &["-g", "-t", "-d", "1", "-r", "200"]);
        let total = collapsed.total();
        // Somebody holds it nearly always; 2.7 has it given up in between for longer.
        assert!((80..=200 + 20).contains(&total), "{total}: {collapsed:#?}");
        for (frames, _) in &collapsed.stacks {
            assert!(!frames[0].ends_with("\"MainThread\""), "{collapsed:#?}");
        }
        for (name, known) in target.truth["threads"].as_object().unwrap() {
            let root = format!("\"{name}\"");
            let seen = collapsed.count(|frames| frames[0].ends_with(&root));
            if known["releases"] == true {
                // At one of 200 on an idle machine.
                assert!(seen * 10 < total, "{name} holds it at {seen} of {total}");
            } else if !known["c_call"].is_null() {
                // At a sixth to three fourths.
                assert!(seen * 20 > total, "{name} holds it at {seen} of {total}");
            }
        }
    });
}

/// A stack is shown for holding the GIL if its thread did at that very moment, not a little
/// before: one that gives it up every 0.1 ms is hardly seen where it does without.
#[test]
fn at_the_moment_of_the_stack() {
    let releases = |python: &Interpreter| !python.free_threaded && python.name != "2.7";
    for_every_that("record-gil-turns", releases, |python| {
        let target = Target::start(python, "gil_turns.py").settled();
        for how in ["-n", "--blocking"] {
            let (collapsed, _) = record(&target, &["-g", how, "-d", "1", "-r", "200"]);
            let seen = |function: &str| {
                let is_there = |frame: &String| frame.starts_with(function);
                collapsed.count(|frames| frames.iter().any(is_there))
            };
            let (within, outside) = (seen("within "), seen("outside "));
            // At 100 of 200; at 17 on a machine with five times more to do than processors.
            assert!(within > 5, "{how}: {collapsed:#?}");
            // At 1 to 3 of 100; more than half where the holder was asked before the stop.
            assert!(outside * 4 < within, "{how}: {outside} and {within}");
        }
    });
}
