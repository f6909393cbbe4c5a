//! Whether the time that is shown is the time that was spent.

use std::fs;

use serde_json::Value;

use crate::record::{function, record};
use crate::support::{Interpreter, Target, for_every_that};

/// The nanoseconds that a thread of the target has been on a processor.
fn run_ns(target: &Target, thread: &Value) -> u64 {
    let file = format!(
        "/proc/{}/task/{}/schedstat",
        target.pid(),
        thread["native_id"]
    );
    let text = fs::read_to_string(file).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// `time.thread_time` is there from 3.7 on.
fn has_thread_time(python: &Interpreter) -> bool {
    ["3.7", "3.11", "3.13", "3.15", "3.13t"].contains(&&*python.name)
}

/// With --mode cpu the samples of threads that work for 5, 15 and 30 % of the
/// time add up to the processor time that the kernel counts for them, and lie
/// in the functions that use it, also where they rest at most ticks; with -i
/// it is the same.
#[test]
fn processor_time() {
    for_every_that("record-mode-cpu", has_thread_time, |python| {
        let target = Target::start(python, "duty.py").settled();
        for options in [&["-r", "1000"][..], &["-r", "50"], &["-r", "1000", "-i"]] {
            let threads = target.truth["threads"].as_object().unwrap();
            let counts = || threads.values().map(|thread| run_ns(&target, thread));
            let before: Vec<u64> = counts().collect();
            let mut asked = vec!["--mode", "cpu", "-t", "-d", "2"];
            asked.extend(options);
            let (collapsed, run) = record(&target, &asked);
            let after: Vec<u64> = counts().collect();
            let rate: u64 = options[1].parse().unwrap();
            let (mut seen_in_all, mut used_in_all) = (0.0, 0.0);
            for ((name, known), (before, after)) in threads.iter().zip(before.iter().zip(&after)) {
                let root = format!("\"{name}\"");
                let seen = collapsed.count(|frames| frames[0].ends_with(&root));
                let seen = seen as f64 / rate as f64;
                let used = (after - before) as f64 / 1e9;
                // Each stack's sum is written as a whole number of samples, at least one.
                let stacks = collapsed.stacks.iter();
                let stacks = stacks.filter(|(frames, _)| frames[0].ends_with(&root));
                let rounding = stacks.count() as f64;
                // What it used while firefinch started and ended is not recorded.
                assert!(
                    seen <= used + (2.0 + rounding) / rate as f64,
                    "{name}: {seen} of {used}: {run:#?}"
                );
                seen_in_all += seen;
                used_in_all += used;
                // Of runs that are long beside the interval: one that begins and
                // ends between two looks counts to where the thread waits.
                let busy = known["function"].as_str().unwrap();
                let inside = collapsed.count(|frames| {
                    frames[0].ends_with(&root) && function(frames.last().unwrap()) == busy
                });
                if rate >= 1000 && name == "busy-6" {
                    let inside = inside as f64 / rate as f64;
                    assert!(inside >= seen / 2.0, "{name}: {collapsed:#?}");
                }
            }
            assert!(
                seen_in_all >= used_in_all * 0.75,
                "{seen_in_all} of {used_in_all}: {run:#?}"
            );
        }
    });
}

/// Without it a thread counts while it runs, however short its runs are beside
/// the scheduler's ticks: none is overlooked.
#[test]
fn short_runs() {
    // Without a GIL all threads run at once, and where that takes all processors
    // firefinch gets one only after the short runs: see the README's limits.
    let one_at_a_time = |python: &Interpreter| has_thread_time(python) && !python.free_threaded;
    for_every_that("record-short-runs", one_at_a_time, |python| {
        let target = Target::start(python, "duty.py").settled();
        // Other tests run meanwhile, and may keep firefinch off the processors for
        // most of one recording; not of each.
        let overlooked = || {
            let (collapsed, run) = record(&target, &["-t", "-d", "3", "-r", "500"]);
            let shares = [("busy-1", 0.05), ("busy-3", 0.15), ("busy-6", 0.3)];
            let seen = |name: &str| {
                let root = format!("\"{name}\"");
                collapsed.count(|frames| frames[0].ends_with(&root)) as f64 / 1500.0
            };
            let mut seen = shares
                .map(|(name, share)| (name, share, seen(name)))
                .into_iter();
            // Loose for machines with more to do than processors.
            let least = seen.find(|(_, share, seen)| *seen < share * 0.3);
            least.map(|(name, _, seen)| format!("{name}: {seen}: {run:#?}"))
        };
        let objections: Vec<String> = (0..3).map_while(|_| overlooked()).collect();
        assert!(objections.len() < 3, "{}", objections.join("\n"));
    });
}
