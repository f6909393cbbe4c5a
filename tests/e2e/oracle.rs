//! A program in which every possible edge of a stack is known, and which calls
//! or returns every 50 to 200 ns: no stack may have an edge it does not have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::record::{assert_few_lost, record};
use crate::support::{Collapsed, Interpreter, Target, alone, for_every, for_every_that};

/// Every edge there can be, and where a stack can begin and end.
#[derive(Debug)]
struct Oracle {
    /// Caller, line of the call, callee.
    edges: BTreeSet<(String, u64, String)>,
    roots: BTreeSet<String>,
    /// Lines at which a function can be the innermost.
    leaves: BTreeSet<(String, u64)>,
}

impl Oracle {
    fn of(truth: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let number = |value: &Value| value.as_u64().unwrap();
        let edges = truth["edges"].as_array().unwrap().iter();
        let leaves = truth["leaf_lines"].as_object().unwrap().iter();
        let lines = |(name, lines): (&String, &Value)| {
            let lines: Vec<_> = lines.as_array().unwrap().iter().map(number).collect();
            lines
                .into_iter()
                .map(move |line| (name.clone(), line))
                .collect::<Vec<_>>()
        };
        Self {
            edges: edges
                .map(|e| (text(&e[0]), number(&e[1]), text(&e[2])))
                .collect(),
            roots: truth["roots"]
                .as_array()
                .unwrap()
                .iter()
                .map(text)
                .collect(),
            leaves: leaves.flat_map(lines).collect(),
        }
    }

    /// What is impossible about a stack.
    fn objection(&self, stack: &[Place]) -> Option<String> {
        let (first, _) = stack.first()?;
        if !self.roots.contains(first) {
            return Some(format!("begins with {first}"));
        }
        for pair in stack.windows(2) {
            let ((caller, line), (callee, _)) = (&pair[0], &pair[1]);
            let mut edges = self.edges.iter();
            let is_made = edges.any(|(from, at, to)| {
                from == caller && to == callee && line.is_none_or(|line| line == *at)
            });
            if !is_made {
                return Some(format!("{caller}:{line:?} calls {callee}"));
            }
        }
        let (last, at) = stack.last()?;
        let mut leaves = self.leaves.iter();
        let can_be = leaves.any(|(name, line)| name == last && at.is_none_or(|at| at == *line));
        (!can_be).then(|| format!("ends in {last}:{at:?}"))
    }
}

/// Function and line; a few instructions at the end of loops and generators
/// belong to no line.
type Place = (String, Option<u64>);

/// That of `Class.function (file:line)`.
fn place(label: &str) -> Place {
    let (name, rest) = label.split_once(" (").expect("a place");
    let line = rest.trim_end_matches(')').rsplit_once(':');
    let line = line.map(|(_, line)| line.parse().expect("a number"));
    let name = name.rsplit('.').next().unwrap();
    (name.to_owned(), line)
}

/// Records the churn with these options and looks at every stack. Functions of every level
/// are seen in one recording of three: a sampler that only ever sees quiet moments sees those
/// in none, one that was kept from the processor for most of a recording may in the next.
fn true_edges(python: &Interpreter, churn: &Churn, options: &[&str]) -> Collapsed {
    let mut all = (0..3).map(|_| recorded_edges(python, churn, options));
    let reaching = all.find(|collapsed| reaches_everything(collapsed, churn.levels));
    reaching.unwrap_or_else(|| panic!("{} never seen: {options:?}", churn.levels.join(" or ")))
}

fn recorded_edges(python: &Interpreter, churn: &Churn, options: &[&str]) -> Collapsed {
    let target = Target::start_with(python, churn.program, &["--threads", "1"]).settled();
    let oracle = Oracle::of(&target.truth);
    let mut asked = vec!["-d", "2", "-r", "1000"];
    asked.extend(options);
    let (collapsed, run) = record(&target, &asked);
    let (mut wrong, mut count_wrong) = (Vec::new(), 0);
    for (frames, count) in &collapsed.stacks {
        let stack: Vec<_> = frames.iter().map(|frame| place(frame)).collect();
        if let Some(objection) = oracle.objection(&stack) {
            count_wrong += count;
            wrong.push(format!("{count} times {objection}: {}", frames.join(";")));
        }
    }
    let total = collapsed.total();
    assert!(
        count_wrong as f64 <= churn.tolerated * total as f64,
        "of {total}:\n{}\n{}",
        wrong.join("\n"),
        run.stderr
    );
    assert_few_lost(total, &run, churn.lost);
    collapsed
}

fn reaches_everything(collapsed: &Collapsed, levels: &[&str]) -> bool {
    levels.iter().all(|level| share(collapsed, level) > 0.0)
}

/// Records the churn without a stop and with, and fails if the innermost functions of one
/// level have less than a sixth of what they have with, three times: half of it is usual on a
/// loaded machine, and nothing at all if they are refused. Once is no proof: where others want
/// the processors, a target stands at one place for most of such a recording.
fn assert_shares(python: &Interpreter, churn: &Churn) {
    let _alone = alone();
    let mut few = Vec::new();
    for _ in 0..3 {
        let seen = true_edges(python, churn, &[]);
        let stopped = true_edges(python, churn, &["--blocking"]);
        let shares = |level| [&seen, &stopped].map(|collapsed| share(collapsed, level));
        let levels = churn.levels.iter().map(|level| (*level, shares(level)));
        let missed: Vec<_> = levels
            .filter(|(_, [seen, stopped])| *seen <= stopped / 6.0)
            .collect();
        if missed.is_empty() {
            return;
        }
        few.push(missed);
    }
    panic!("shares without and with stops: {few:?}");
}

/// The same, and fails if the shares of a level are more than 15 points apart three times.
/// On one and the same machine they were up to 6 one day and up to 13 the next, with the
/// code of both days ("Limits" in README has why); a sampler that refuses stacks that move
/// was 12 to 18 off.
fn assert_close_shares(python: &Interpreter, churn: &Churn) {
    const POINTS: f64 = 0.15;
    let _alone = alone();
    let mut apart = Vec::new();
    for _ in 0..3 {
        let [seen, stopped] = [&[][..], &["--blocking"]].map(|how| true_edges(python, churn, how));
        let levels = churn.levels.iter().copied();
        apart = levels
            .map(|level| (level, share(&seen, level), share(&stopped, level)))
            .collect();
        apart.retain(|(_, seen, stopped)| (seen - stopped).abs() > POINTS);
        if apart.is_empty() {
            return;
        }
    }
    panic!("level, share, share with a stop: {apart:?}");
}

/// The share of the stacks in which the innermost function is one of the level.
fn share(collapsed: &Collapsed, level: &str) -> f64 {
    let is_level = |top: &String| place(top).0.starts_with(level);
    let count = collapsed.count(|frames| frames.last().is_some_and(is_level));
    count as f64 / collapsed.total() as f64
}

/// A program that does nothing but call.
#[derive(Debug)]
struct Churn {
    program: &'static str,
    /// What the innermost functions of all levels begin with.
    levels: &'static [&'static str],
    /// The share of stacks that may be wrong.
    tolerated: f64,
    /// The share of samples that may be lost.
    lost: f64,
}

const CALLS: Churn = Churn {
    program: "oracle_calls.py",
    levels: &["driver", "c_", "d_", "e_"],
    tolerated: 0.0,
    lost: 0.05,
};

/// Whoever goes through a generator is hardly ever the innermost.
const GENERATORS: Churn = Churn {
    program: "oracle_generators.py",
    levels: &["c_", "g_"],
    tolerated: 0.0,
    lost: 0.05,
};

/// Without a stop a generator that is asked again every microsecond comes back
/// while it is looked at: see "Limits" in README. Without any proof of such
/// calls it is one stack in three to fifteen.
const MOVING_GENERATORS: Churn = Churn {
    tolerated: 0.03,
    lost: 0.2,
    ..GENERATORS
};

/// To 3.10 a name is what tells the callee.
fn is_old(python: &Interpreter) -> bool {
    python.minor() < (3, 11)
}

/// With --blocking, no stack has an edge that the program does not have.
#[test]
fn blocking() {
    for_every("oracle-blocking", |python| {
        true_edges(python, &CALLS, &["--blocking"]);
    });
}

/// Without a stop none either, and each function has its share.
#[test]
fn nonblocking() {
    for_every("oracle-nonblocking", |python| {
        assert_close_shares(python, &CALLS);
    });
}

/// Nor of calls that no name tells: through a variable, by the interpreter for
/// a trace function and for an object that dies. The line may be the one behind, where the
/// caller has gone on: 3 of 1,000 on 3.8, and up to 15 of 1,000 on 3.6, 3.7 and 3.10.
#[test]
fn unnamed() {
    const CALLS: Churn = Churn {
        program: "unnamed_calls.py",
        levels: &["step", "tracer", "__del__"],
        tolerated: 0.03,
        lost: 0.05,
    };
    for_every_that("oracle-unnamed", is_old, |python| {
        assert_shares(python, &CALLS);
    });
}

/// Nor of methods that operators and constructors call, at the lines of those, nor of
/// generator expressions that C goes through.
#[test]
fn operators() {
    const CALLS: Churn = Churn {
        program: "operator_calls.py",
        levels: &["__init__", "__and__", "__getitem__", "<genexpr>"],
        tolerated: 0.02,
        lost: 0.05,
    };
    for_every_that("oracle-operators", is_old, |python| {
        assert_shares(python, &CALLS);
    });
}

/// Nor where the caller is a module with more constants than a function ever has: its
/// calls are plain to see, too.
#[test]
fn large_module() {
    const CALLS: Churn = Churn {
        program: "large_module.py",
        levels: &["inner", "leaf"],
        tolerated: 0.0,
        lost: 0.05,
    };
    for_every_that("oracle-large-module", is_old, |python| {
        assert_shares(python, &CALLS);
    });
}

/// Nor where frames are those of generators, which come and go.
#[test]
fn generators() {
    for_every("oracle-generators", |python| {
        true_edges(python, &MOVING_GENERATORS, &[]);
    });
}

/// The same with --blocking.
#[test]
fn generators_blocking() {
    for_every("oracle-generators-blocking", |python| {
        true_edges(python, &GENERATORS, &["--blocking"]);
    });
}
