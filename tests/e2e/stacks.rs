//! Small programs of everyday shapes whose every possible stack is known: no
//! other one may be shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::record::{assert_few_lost, function, in_quiet, label, labels, record, summed_up};
use crate::support::{Collapsed, Interpreter, Run, Target, alone, for_every_that};

/// Every stack that there can be, oldest frame first.
#[derive(Debug)]
struct Possible(BTreeSet<Vec<String>>);

impl Possible {
    fn of(truth: &Value) -> Self {
        let stacks = truth["stacks"].as_array().unwrap();
        let mut possible: BTreeSet<_> = stacks.iter().map(|s| labels(s, label)).collect();
        // A few instructions at the end of loops and generators belong to no line.
        let unnumbered = |stack: &Vec<String>| {
            let (newest, callers) = stack.split_last().unwrap();
            let (before, _) = newest.rsplit_once(':').unwrap();
            [callers, &[format!("{before})")]].concat()
        };
        let without: Vec<_> = possible.iter().map(unnumbered).collect();
        possible.extend(without);
        Self(possible)
    }

    /// Fails if more of the stacks than this share are none of these.
    fn assert_of(&self, collapsed: &Collapsed, run: &Run, tolerated: f64) {
        let wrong = |stack: &&(Vec<String>, u64)| !self.0.contains(&stack.0);
        let wrong: Vec<_> = collapsed.stacks.iter().filter(wrong).collect();
        let count: u64 = wrong.iter().map(|(_, count)| count).sum();
        let total = collapsed.total();
        let listed: Vec<_> = wrong
            .iter()
            .map(|(stack, count)| format!("{count} times {}", stack.join(";")))
            .collect();
        assert!(
            count as f64 <= total as f64 * tolerated,
            "{count} of {total} are impossible:\n{}\n{}",
            listed.join("\n"),
            run.stderr
        );
    }

    /// How many stacks are none of these.
    fn wrong(&self, collapsed: &Collapsed) -> u64 {
        collapsed.count(|stack| !self.0.contains(stack))
    }

    /// The same of the functions alone, whatever their lines.
    fn wrong_functions(&self, collapsed: &Collapsed) -> u64 {
        let functions = |stack: &[String]| -> Vec<String> {
            let functions = stack.iter().map(|frame| function(frame).to_owned());
            functions.collect()
        };
        let possible: BTreeSet<_> = self.0.iter().map(|stack| functions(stack)).collect();
        collapsed.count(|stack| !possible.contains(&functions(stack)))
    }

    /// Fails if one of the functions was seen as the innermost at no depth at
    /// which it can be: a sampler that refuses what it cannot read would show
    /// nothing wrong.
    fn assert_all(&self, collapsed: &Collapsed) {
        let overlooked: Vec<_> = self.overlooked(collapsed).collect();
        assert!(
            overlooked.is_empty(),
            "never seen: {overlooked:?}: {collapsed:#?}"
        );
    }

    /// The functions that were not seen as the innermost, with their depths.
    fn overlooked(&self, collapsed: &Collapsed) -> impl Iterator<Item = (String, usize)> {
        let seen: BTreeSet<_> = collapsed.stacks.iter().map(|(s, _)| innermost(s)).collect();
        let can_be: BTreeSet<_> = self.0.iter().map(|s| innermost(s)).collect();
        can_be.into_iter().filter(move |one| !seen.contains(one))
    }
}

/// The newest function and its depth.
fn innermost(stack: &[String]) -> (String, usize) {
    (function(stack.last().unwrap()).to_owned(), stack.len())
}

/// Versions that differ in how they call: with frames on the heap, in data
/// stacks, with the instructions of each, without a GIL.
fn differs_in_calls(python: &Interpreter) -> bool {
    ["3.8", "3.11", "3.12", "3.13", "3.14", "3.15", "3.13t"].contains(&&*python.name)
}

/// From 3.11 on; before, a name is what tells the callee: see "Limits" in README.
pub(crate) fn is_new(python: &Interpreter) -> bool {
    differs_in_calls(python) && python.minor() >= (3, 11)
}

fn recorded(python: &Interpreter, kind: &str, options: &[&str]) -> (Possible, Collapsed, Run) {
    let _alone = alone();
    recorded_of(
        python,
        "oracle_stacks.py",
        kind,
        &[&SHORT, options].concat(),
    )
}

const SHORT: [&str; 4] = ["-d", "0.5", "-r", "4000"];

fn recorded_of(
    python: &Interpreter,
    program: &str,
    kind: &str,
    options: &[&str],
) -> (Possible, Collapsed, Run) {
    let target = Target::start_with(python, program, &[kind]).settled();
    let (collapsed, run) = record(&target, options);
    (Possible::of(&target.truth), collapsed, run)
}

/// Records up to three times, and fails if stacks are wrong or lost in one of them, or if
/// some function is never seen as the innermost at a depth at which it can be, unless it
/// is one of the `rare`: what takes a hundredth of the time may be missed once. A method that
/// C calls for less than 0.1 µs is seen once in a thousand looks until its call is known, on a
/// machine whose processors are far from each other, so the last recording is longer.
fn assert_possible(python: &Interpreter, kind: &str, tolerated: f64, rare: &[&str]) {
    let mut missing = BTreeSet::new();
    for (attempt, seconds) in ["0.5", "0.5", "6"].into_iter().enumerate() {
        let recorded = || {
            let _alone = alone();
            let options = ["-d", seconds, "-r", "4000"];
            recorded_of(python, "oracle_stacks.py", kind, &options)
        };
        let (possible, collapsed, run) = judged(recorded, tolerated);
        possible.assert_of(&collapsed, &run, tolerated);
        assert_few_lost(collapsed.total(), &run, FEW);
        let overlooked = possible.overlooked(&collapsed);
        let overlooked = overlooked.filter(|(name, _)| !rare.contains(&&**name));
        let overlooked: BTreeSet<_> = overlooked.collect();
        missing = match attempt {
            0 => overlooked,
            _ => &missing & &overlooked,
        };
        if missing.is_empty() {
            return;
        }
    }
    panic!("never seen: {missing:?}");
}

/// What was recorded, once more if too much of it is impossible and that may be a single
/// look: the one after a pause counts for all the ticks that were missed. Twice in a row it
/// is not.
fn judged(
    record: impl Fn() -> (Possible, Collapsed, Run),
    tolerated: f64,
) -> (Possible, Collapsed, Run) {
    let (possible, collapsed, run) = record();
    let beyond = possible.wrong(&collapsed) as f64 - collapsed.total() as f64 * tolerated;
    let missed = summed_up(&run, "ticks missed") as f64;
    match beyond > 0.0 && beyond <= missed {
        true => record(),
        false => (possible, collapsed, run),
    }
}

/// See "Limits" in README: in most runs none of 2,000 stacks with such calls is torn, in
/// single ones one or two.
const TORN: f64 = 0.001;

/// None or two of 2,000 samples are lost on an idle machine.
const FEW: f64 = 0.05;

/// Of a stack some 30 calls deep whose middle is something else every few microseconds, all
/// of it is of one moment: no two of its frames are joined that never were together, those
/// at each depth have their shares, and few are lost. A caller may be shown at the line of
/// another call of the same function that it has made within a microsecond: see "Limits" in
/// README.
#[test]
fn deep() {
    // In repeated runs 0 to 2 of 4,000, and 1 to 3 of 100 lines; on a loaded machine more, and
    // once 4 of 2,000: three such runs in a row are none of these.
    const JOINED: f64 = 0.002;
    const LINES: f64 = 0.05;
    const POINTS: f64 = 0.08;
    for_every_that("stacks-deep", is_new, |python| {
        let mut wrong = Vec::new();
        for _ in 0..3 {
            let _alone = alone();
            let recorded = |how: &[&str]| {
                recorded_of(python, "oracle_deep.py", "calls", &[&SHORT, how].concat())
            };
            let (possible, seen, run) = recorded(&[]);
            assert_few_lost(seen.total(), &run, FEW);
            let of_all = |count: u64| count as f64 / seen.total() as f64;
            let joined = of_all(possible.wrong_functions(&seen));
            let lines = of_all(possible.wrong(&seen));
            let (possible, stopped, run) = recorded(&["--blocking"]);
            possible.assert_of(&stopped, &run, 0.0);
            let stopped = shares_by_depth(&stopped);
            let mut apart: Vec<_> = shares_by_depth(&seen).into_iter().collect();
            apart.retain(|(place, share)| {
                let is = stopped.get(place).copied().unwrap_or_default();
                let chance = 4.0 * (is.max(*share) / seen.total() as f64).sqrt();
                (share - is).abs() > POINTS + chance
            });
            if joined <= JOINED && lines <= LINES && apart.is_empty() {
                return;
            }
            wrong.push((joined, lines, apart));
        }
        panic!("joined wrongly, wrong lines, shares that are too far off: {wrong:?}");
    });
}

/// Where C and generators lie in the middle of such stacks, too, what is at their end has
/// its share from 3.13 on: looks whose stack is gone count for the next one of the same
/// frame. Where what had come instead was shown, that was of the caller further down for 10
/// to 45 points more. It takes a second to have met all of these.
#[test]
fn deep_mixed() {
    const LONG: [&str; 4] = ["-d", "2", "-r", "4000"];
    // In repeated runs 0 to 6 points; without a GIL 3 to 11, for 21 to 36: each new generator
    // lies elsewhere there, and what is known of one says nothing of the next.
    const POINTS: f64 = 0.08;
    const POINTS_FREE_THREADED: f64 = 0.14;
    let tells_leaf = |python: &Interpreter| is_new(python) && python.minor() >= (3, 13);
    for_every_that("stacks-deep-mixed", tells_leaf, |python| {
        let mut apart = Vec::new();
        for _ in 0..3 {
            let _alone = alone();
            let points = match &*python.name {
                "3.13t" => POINTS_FREE_THREADED,
                _ => POINTS,
            };
            let recorded = |how: &[&str]| {
                recorded_of(python, "oracle_deep.py", "mixed", &[&LONG, how].concat())
            };
            let (_, seen, run) = recorded(&[]);
            assert_few_lost(seen.total(), &run, FEW);
            let (_, stopped, _) = recorded(&["--blocking"]);
            let ends = |collapsed: &Collapsed| {
                let ends = |frame: &String| function(frame) == "turn_mixed";
                let ended = collapsed.count(|frames| frames.last().is_some_and(ends));
                ended as f64 / collapsed.total() as f64
            };
            let (seen_share, share) = (ends(&seen), ends(&stopped));
            let chance = 4.0 * (share / seen.total() as f64).sqrt();
            if (seen_share - share).abs() <= points + chance {
                return;
            }
            apart.push((seen_share, share));
        }
        panic!("shares of what is at the end, without and with stops: {apart:?}");
    });
}

/// The share of the stacks that have this function at this depth.
fn shares_by_depth(collapsed: &Collapsed) -> BTreeMap<(usize, String), f64> {
    let mut shares = BTreeMap::new();
    for (stack, count) in &collapsed.stacks {
        for (depth, frame) in stack.iter().enumerate() {
            *shares
                .entry((depth, function(frame).to_owned()))
                .or_default() += *count as f64 / collapsed.total() as f64;
        }
    }
    shares
}

/// A method has the caller that its object was given to, also where a method
/// of the same name of another class was called a moment ago.
#[test]
fn methods() {
    for_every_that("stacks-methods", differs_in_calls, |python| {
        let (possible, collapsed, run) = recorded(python, "methods", &[]);
        possible.assert_of(&collapsed, &run, 0.0);
        possible.assert_all(&collapsed);
    });
}

/// A generator that goes through itself has each level once, below the caller
/// that knows that depth, but for what "Limits" in README admits: mostly less
/// than one stack of a hundred is wrong, on a loaded machine 6 have been. Where
/// the caller of a generator was taken for granted, 17 were.
#[test]
fn generators() {
    for_every_that("stacks-generators", is_new, |python| {
        let (possible, collapsed, run) = recorded(python, "generators", &[]);
        possible.assert_of(&collapsed, &run, 0.1);
        // One of a hundred on an idle machine.
        assert_few_lost(collapsed.total(), &run, 0.2);
    });
}

/// A generator that a loop goes through, and that has mostly given its value when it is
/// copied, is shown for at least half of its time; the callers of it and of those that C
/// goes through are the true ones. From 3.13 on with a GIL; of others see "Limits" in
/// README.
#[test]
fn iterated() {
    let some = |python: &Interpreter| ["3.13", "3.14", "3.15"].contains(&&*python.name);
    for_every_that("stacks-iterated", some, |python| {
        let share = |target: &Target, options: &[&str]| {
            let asked = ["-d", "0.5", "-r", "2000"];
            let (collapsed, run) = record(target, &[&asked, options].concat());
            Possible::of(&target.truth).assert_of(&collapsed, &run, 0.005);
            let is_it = |frames: &[String]| function(frames.last().unwrap()) == "pairs";
            collapsed.count(is_it) as f64 / collapsed.total() as f64
        };
        // On a machine with more to do than processors it had a third now and then.
        let mut seen_for_stopped = Vec::new();
        let has_half = (0..3).any(|_| {
            let _alone = alone();
            let target = Target::start_with(python, "oracle_stacks.py", &["iterated"]).settled();
            let (seen, stopped) = (share(&target, &[]), share(&target, &["--blocking"]));
            seen_for_stopped.push((seen, stopped));
            // Refused where it names its caller no more, it had a fifth to a seventh.
            seen > stopped / 2.0
        });
        assert!(has_half, "{seen_for_stopped:?}");
    });
}

/// What C calls stands below the line that calls that C only, and at the root
/// is the module.
#[test]
fn callbacks() {
    for_every_that("stacks-callbacks", is_new, |python| {
        assert_possible(python, "callbacks", TORN, &[]);
    });
}

/// A constructor is the frames of the source, and none that the interpreter
/// pushes of its own.
#[test]
fn constructors() {
    for_every_that("stacks-constructors", is_new, |python| {
        assert_possible(python, "constructors", TORN, &[]);
    });
}

/// Properties, subscripts, attributes that are asked for, and calls with other
/// arguments than those in their places are calls as well, at their lines.
#[test]
fn implicit() {
    for_every_that("stacks-implicit", is_new, |python| {
        assert_possible(python, "implicit", TORN, &[]);
    });
}

/// Where the source does not name whom it calls, neither frame is at another call than it
/// was when that was called: calls follow each other within nanoseconds here, and copying
/// two frames takes longer where processors are far from each other. From 3.12 on, where
/// instructions note whom they call; without a GIL from 3.14 on.
#[test]
fn unnamed() {
    let some = |python: &Interpreter| {
        is_new(python) && python.minor() >= (3, 12) && python.name != "3.13t"
    };
    for kind in ["table", "disguised"] {
        for_every_that(&format!("stacks-{kind}"), some, |python| {
            assert_possible(python, kind, TORN, &[]);
        });
    }
}

/// What runs in a class body, which begins a loop of its own each time, stands above
/// the function that the class is in. From 3.12 on; for 3.11 see "Limits" in README.
#[test]
fn bodies() {
    let some = |python: &Interpreter| is_new(python) && python.minor() >= (3, 12);
    for_every_that("stacks-bodies", some, |python| {
        assert_possible(
            python,
            "bodies",
            TORN,
            &["rank", "bodies.<locals>.Body.third"],
        );
    });
}

/// The same of all these with --blocking, which sees every function.
#[test]
fn blocking() {
    for kind in [
        "methods",
        "generators",
        "iterated",
        "callbacks",
        "constructors",
        "implicit",
    ] {
        for_every_that(
            &format!("stacks-{kind}-blocking"),
            differs_in_calls,
            |python| {
                let (possible, collapsed, run) = recorded(python, kind, &["--blocking"]);
                // In 3.11 and 3.12 a loop that has just begun names no frame of its own
                // yet: see "Limits" in README.
                let has_cells = ((3, 11)..(3, 13)).contains(&python.minor());
                let begins_loops = kind == "iterated" && has_cells;
                let tolerated = if begins_loops { 0.003 } else { 0.0 };
                possible.assert_of(&collapsed, &run, tolerated);
                possible.assert_all(&collapsed);
            },
        );
    }
}

/// The line that a short function returns from has the share of its work, and
/// not that of the moments before and after it: at most three times as much as
/// with the thread stopped for each look. From 3.11 on; before, see "Limits" in
/// README. At 1 kHz, where it is read from another processor than its own, that
/// changes with how far that is, so it is recorded up to three times; at the usual
/// rate each line has its share.
#[test]
fn lines() {
    // A fourth of one of the other lines: with a stop it was 0.4 to 2.4 % in
    // repeated runs of 3.11, more than chance gives.
    const NEVER_TOO_MUCH: f64 = 0.05;
    const POINTS: f64 = 0.03;
    for_every_that("stacks-lines", is_new, |python| {
        let _alone = alone();
        let target = Target::start_with(python, "oracle_stacks.py", &["lines"]).settled();
        let possible = Possible::of(&target.truth);
        let judged = |run: &Run| {
            let collapsed = Collapsed::parse(&run.stdout);
            possible.assert_of(&collapsed, run, 0.0);
            assert_few_lost(collapsed.total(), run, FEW);
            collapsed
        };
        let recorded = |options: &[&str]| judged(&record(&target, options).1);
        let fast = ["-d", "1.5", "-r", "1000"];
        let stopped = recorded(&[&fast[..], &["--blocking"]].concat());
        let (last, _) = returning(&target, &stopped);
        let bound = (3.0 * last).max(NEVER_TOO_MUCH);
        let mut seen = (0..3).map(|_| {
            let quiet = in_quiet(1500, || record(&target, &fast).1);
            returning(&target, &judged(&quiet))
        });
        let is_few = |(seen, count): &(f64, f64)| {
            *seen <= bound + 4.0 * (bound * (1.0 - bound) / count).sqrt()
        };
        let mut too_many = Vec::new();
        let few = seen.find(|seen| {
            too_many.push(*seen);
            is_few(seen)
        });
        assert!(few.is_some(), "{too_many:?}, with a stop {last}");
        let usual = recorded(&["-d", "8", "-r", "100"]);
        let (usual, stopped) = (shares_by_line(&usual), shares_by_line(&stopped));
        for line in usual.0.keys().chain(stopped.0.keys()) {
            let share = |of: &(BTreeMap<String, f64>, f64)| of.0.get(line).copied().unwrap_or(0.0);
            let (is, should) = (share(&usual), share(&stopped));
            let both = (is * usual.1 + should * stopped.1) / (usual.1 + stopped.1);
            let chance = (both * (1.0 - both) * (1.0 / usual.1 + 1.0 / stopped.1)).sqrt();
            assert!(
                (is - should).abs() <= POINTS + 4.0 * chance,
                "{line}: {is} for {should}: {usual:#?} {stopped:#?}"
            );
        }
    });
}

/// The share of each newest frame with its line, and of how many samples.
fn shares_by_line(collapsed: &Collapsed) -> (BTreeMap<String, f64>, f64) {
    let total = collapsed.total() as f64;
    let mut shares = BTreeMap::new();
    for (stack, count) in &collapsed.stacks {
        *shares.entry(stack.last().unwrap().clone()).or_default() += *count as f64 / total;
    }
    (shares, total)
}

/// Of the samples in `leaf` the share of its last line, and how many they are.
fn returning(target: &Target, collapsed: &Collapsed) -> (f64, f64) {
    let last = target.truth["stacks"].as_array().unwrap().iter();
    let last = last.filter_map(|stack| stack.as_array().unwrap().last());
    let last = last.filter(|newest| newest["func"] == "leaf");
    let last = last.filter_map(|newest| newest["line"].as_u64()).max();
    let last = format!("leaf (oracle_stacks.py:{})", last.unwrap());
    let is_leaf = |frames: &[String]| function(frames.last().unwrap()) == "leaf";
    let is_last = |frames: &[String]| frames.last() == Some(&last);
    let all = collapsed.count(is_leaf) as f64;
    (collapsed.count(is_last) as f64 / all, all)
}
