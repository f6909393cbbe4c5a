//! What recorded processes said of themselves, decoded from their snapshots.
#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod common;

use std::collections::HashSet;

use common::{Entry, corpus};
use firefinch_cpython::{Layout, Motion};
use firefinch_snapshot::{Frame, Observation, Thread};
use serde_json::Value;

/// What a program printed: `ready PID=<pid> python=<version>`, then `truth {...}`.
struct Truth {
    pid: u64,
    version: String,
    known: Value,
}

impl Truth {
    fn of(entry: &Entry) -> Self {
        let text = entry.truth();
        let (ready, truth) = text.split_once('\n').unwrap();
        let word = |key: &str| {
            let mut words = ready.split(' ').filter_map(|word| word.strip_prefix(key));
            words.next().unwrap().to_owned()
        };
        Self {
            pid: word("PID=").parse().unwrap(),
            version: word("python="),
            known: serde_json::from_str(truth.strip_prefix("truth ").unwrap()).unwrap(),
        }
    }
}

/// A stack of the truth, newest frame first.
fn frames(stack: &Value) -> Vec<Frame> {
    let text = |frame: &Value, key: &str| frame[key].as_str().map(str::to_owned);
    let frame = |frame: &Value| Frame {
        function: text(frame, "qualname")
            .or_else(|| text(frame, "func"))
            .unwrap(),
        file: text(frame, "file").unwrap(),
        line: Some(u32::try_from(frame["line"].as_u64().unwrap()).unwrap()),
    };
    stack.as_array().unwrap().iter().rev().map(frame).collect()
}

/// Every look at the stack shows what the truth says.
fn check_stack(thread: &Thread, known: &Value) {
    for look in &thread.looks {
        let shown = look.as_ref().unwrap();
        match known["busy"].as_str() {
            None => assert_eq!(*shown, frames(&known["stack"])),
            Some(busy) => {
                let (top, below) = shown.split_first().unwrap();
                assert_eq!(top.function, busy);
                let lines = known["lines"].as_array().unwrap();
                assert!(lines.contains(&top.line.into()), "{top:?} in {lines:?}");
                match &known["stack"] {
                    Value::Null => assert!(!below.is_empty()),
                    stack => assert_eq!(below, frames(stack)),
                }
            }
        }
    }
}

/// `[function, line, how often in a row]`, oldest first.
fn check_runs(thread: &Thread, runs: &Value) {
    for look in &thread.looks {
        let mut shown = look.as_ref().unwrap().iter().rev();
        for run in runs.as_array().unwrap() {
            for _ in 0..run[2].as_u64().unwrap() {
                let frame = shown.next().unwrap();
                let plain = frame.function.rsplit('.').next();
                assert_eq!(plain, run[0].as_str());
                assert_eq!(frame.line.map(u64::from), run[1].as_u64());
            }
        }
        assert_eq!(shown.next(), None);
    }
}

/// Major and minor version.
fn minor(seen: &Observation) -> (u8, u8) {
    let mut parts = seen.version.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// The thread of this name in this interpreter, of which there must be one.
fn thread<'a>(seen: &'a Observation, name: &str, interpreter: u64) -> &'a Thread {
    let mut found = seen.threads.iter().filter(|thread| {
        thread.name.as_deref() == Some(name) && thread.interpreter.unwrap_or(0) == interpreter
    });
    let first = found.next();
    assert!(found.next().is_none(), "two threads {name}");
    first.unwrap_or_else(|| panic!("no thread {name} in {:?}", seen.threads))
}

/// Everything that the program said is so, and nothing else is shown.
fn check(seen: &Observation, truth: &Truth) {
    let known = &truth.known;
    assert_eq!(seen.version, truth.version);
    let main = thread(seen, "MainThread", 0);
    assert_eq!(main.native_id, Some(truth.pid));
    if known["stack"].is_array() {
        assert_eq!(seen.threads.len(), 1);
        check_stack(main, known);
    }
    if known["runs"].is_array() {
        assert_eq!(seen.threads.len(), 2);
        check_runs(thread(seen, "diver", 0), &known["runs"]);
    }
    let threads = known["threads"].as_object();
    for (name, known) in threads.into_iter().flatten() {
        let native = known["native_id"].as_u64();
        let shown = match known["interpreter"].as_u64() {
            None => thread(seen, name, 0),
            Some(interpreter) => {
                // The same OS thread waits in the main interpreter.
                let below = thread(seen, name, 0);
                assert_eq!(below.native_id, native);
                assert_eq!(*below.looks[0].as_ref().unwrap(), frames(&known["under"]));
                let mut found = seen
                    .threads
                    .iter()
                    .filter(|thread| thread.interpreter == Some(interpreter));
                let first = found.next().unwrap();
                assert_eq!(found.next(), None, "one thread in {interpreter}");
                first
            }
        };
        if let Some(ident) = known["ident"].as_u64() {
            assert_eq!(shown.ident, ident);
        }
        // Before 3.13 a subinterpreter's first thread does not know it.
        let may_lack = known["interpreter"].is_u64() && minor(seen) < (3, 13);
        let lacks = shown.native_id.is_none() && may_lack;
        let same = native.is_none() || shown.native_id == native;
        assert!(same || lacks, "{shown:?} is {known}");
        check_stack(shown, known);
    }
    check_lock(seen, known);
}

/// Who waits in C without the lock does not hold it; one thread at most does
/// for each lock, and where interpreters have one each, that is known of each.
fn check_lock(seen: &Observation, known: &Value) {
    let holders: Vec<_> = seen.threads.iter().filter(|t| t.holds_gil).collect();
    let is_free_threaded = seen.build.starts_with("free-threaded");
    let locks: HashSet<_> = seen.threads.iter().map(|t| t.interpreter).collect();
    assert!(holders.len() <= if is_free_threaded { 0 } else { locks.len() });
    let held_in: HashSet<_> = holders.iter().map(|t| t.interpreter).collect();
    assert_eq!(held_in.len(), holders.len());
    let threads = known["threads"].as_object().into_iter().flatten();
    let busy: HashSet<_> = threads
        .filter_map(|(_, known)| known["busy"].as_str())
        .collect();
    for holder in holders {
        let top = holder.looks[0].as_ref().unwrap().first().unwrap();
        let plain = top.function.rsplit('.').next().unwrap();
        assert!(busy.contains(plain), "{holder:?} waits");
    }
}

/// Runs `check` on each snapshot, and names those it fails on.
#[track_caller]
fn for_each(check: impl Fn(&Entry) + std::panic::RefUnwindSafe) {
    let mut failed = Vec::new();
    for entry in corpus() {
        if std::panic::catch_unwind(|| check(&entry)).is_err() {
            failed.push(entry.name);
        }
    }
    assert!(failed.is_empty(), "fails on {failed:?}");
}

/// Every process recorded is decoded to what it said of itself, and to the
/// same as on the day it was recorded.
#[test]
fn recorded_processes_are_as_they_said() {
    for_each(|entry| {
        let capture = entry.capture();
        let seen = capture.observe(Motion::Stopped, 1).unwrap();
        check(&seen, &Truth::of(entry));
        assert_eq!(seen, capture.expected);
    });
}

/// The way to read threads that run gives the truth too: at every look, the
/// first included.
#[test]
fn reading_as_of_running_threads_gives_the_same() {
    for_each(|entry| {
        let seen = entry.capture().observe(Motion::Running, 4).unwrap();
        check(&seen, &Truth::of(entry));
    });
}

/// Every version that has a layout is in the corpus, with its kinds of build;
/// a lock is seen held in each that has one, and files stay small.
#[test]
fn the_corpus_is_whole() {
    let mut versions = HashSet::new();
    let mut builds = HashSet::new();
    let (mut with_lock, mut held) = (HashSet::new(), HashSet::new());
    for entry in corpus() {
        assert!(entry.file().len() < 40_000, "{} is large", entry.name);
        let seen = entry.capture().expected;
        let version = minor(&seen);
        versions.insert(version);
        builds.insert((version, seen.build.clone()));
        let (interpreter, _) = entry.name.split_once('/').unwrap();
        if !seen.build.starts_with("free-threaded") {
            if seen.threads.iter().any(|thread| thread.holds_gil) {
                held.insert(interpreter.to_owned());
            }
            if entry.name.ends_with("/gil") {
                with_lock.insert(interpreter.to_owned());
            }
        }
    }
    let known: HashSet<_> = Layout::known_versions().into_iter().collect();
    assert_eq!(
        versions, known,
        "a version has no snapshot: scripts/corpus makes them"
    );
    for (minor, build) in [
        (13, "free-threaded"),
        (13, "debug"),
        (14, "debug"),
        (15, "debug"),
    ] {
        assert!(
            builds.contains(&((3, minor), build.to_owned())),
            "{minor} {build}"
        );
    }
    let unheld: Vec<_> = with_lock.difference(&held).collect();
    assert!(unheld.is_empty(), "nobody holds the lock in {unheld:?}");
}

/// No path of the machine that made the corpus is in it.
#[test]
fn no_machine_is_named() {
    for_each(|entry| {
        let seen = entry.capture().expected;
        let looks = seen.threads.iter().flat_map(|thread| &thread.looks);
        let files = looks.flat_map(|look| look.as_ref().unwrap());
        let paths = files.map(|frame| &frame.file).chain(&seen.sys_path);
        let neutral = |path: &&String| {
            [
                "/mnt/corpus",
                "/mnt/python",
                "/usr/lib/python3",
                "/usr/local/lib/python3",
                "<",
            ]
            .iter()
            .any(|start| path.starts_with(start))
        };
        for path in paths.filter(|path| path.contains('/')) {
            assert!(neutral(&path), "{path}");
        }
    });
}
