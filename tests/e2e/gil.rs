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
