//! Process trees: `record`, `top` and `dump` with `--subprocesses`.

use std::fs;

use nix::sys::signal::Signal;

use crate::exec::files_in;
use crate::support::{Collapsed, Interpreter, Run, Running, Target, command, for_every_that};

/// One that stands for each way of finding an interpreter and its threads.
fn is_one_of_some(python: &Interpreter) -> bool {
    ["2.7", "3.6", "3.8", "3.11", "3.13", "3.14", "3.15", "3.13t"].contains(&&*python.name)
}

/// A recording of collapsed stacks with descendants.
struct Recording {
    running: Running,
    directory: tempfile::TempDir,
}

impl Recording {
    fn of(target: &Target, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out.txt");
        let mut command = command(["record", "-s", "-r", "200", "-p", &target.pid_arg()]);
        let running = Running::start(command.args(options).arg("-o").arg(file));
        running.sampled();
        Self { running, directory }
    }

    /// Lets it sample on for a while, and sometime somebody new.
    fn go_on(&self) {
        for _ in 0..5 {
            self.running.sampled();
        }
    }

    fn stop(self) -> (Collapsed, Run) {
        self.go_on();
        self.running.signal(Signal::SIGINT);
        self.end()
    }

    fn end(self) -> (Collapsed, Run) {
        let run = self.running.end().succeeded();
        assert_eq!(files_in(self.directory.path()), ["out.txt"], "{run:#?}");
        let text = fs::read_to_string(self.directory.path().join("out.txt")).unwrap();
        (Collapsed::parse(&text), run)
    }
}

/// Has a child of `family.py` made that is busy in `work_NAME`.
fn child(target: &mut Target, order: &str) -> String {
    target.tell(&format!("{order}\n"));
    let word = if order.starts_with("spawn") {
        "spawned "
    } else {
        "forked "
    };
    target.line_after(word)
}

/// The ticks of a process in which it was in this function, and in all.
fn ticks(collapsed: &Collapsed, pid: &str, function: &str) -> (u64, u64) {
    let root = format!("process {pid}: ");
    let is_of = |frames: &[String]| frames[0].starts_with(&root);
    let start = format!("{function} (");
    let in_it = |frames: &[String]| frames.iter().any(|frame| frame.starts_with(&start));
    (
        collapsed.count(|frames| is_of(frames) && in_it(frames)),
        collapsed.count(is_of),
    )
}

/// Whether nearly all of a process is in this function: for a moment after it was
/// forked it is not there yet.
#[track_caller]
fn assert_works(collapsed: &Collapsed, pid: &str, function: &str, run: &Run) {
    let (there, all) = ticks(collapsed, pid, function);
    assert!(
        there >= 20,
        "{pid} {function}: {there}: {collapsed:#?} {run:#?}"
    );
    assert!(
        there * 10 >= all * 9,
        "{pid} {function}: {there} of {all}: {collapsed:#?}"
    );
}

/// Every stack stands on its process: one of these.
#[track_caller]
fn assert_roots(collapsed: &Collapsed, pids: &[&str]) {
    for (frames, _) in &collapsed.stacks {
        let root = frames[0].strip_prefix("process ").expect("a process");
        let (pid, name) = root.split_once(": ").expect("a name");
        assert!(pids.contains(&pid), "{frames:?}");
        assert!(!name.contains(".py"), "arguments are not shown: {root}");
    }
}

/// Children by fork and by multiprocessing, those that were there and those that
/// came, are each seen in their own process in their own function and nowhere
/// else; of one that ends meanwhile the samples are kept.
#[test]
fn children() {
    for_every_that("subprocesses", is_one_of_some, |python| {
        let mut target = Target::start_with(python, "family.py", &["--threads", "3"]);
        let a = child(&mut target, "fork a");
        let recording = Recording::of(&target, &[]);
        let b = child(&mut target, "pool b");
        recording.go_on();
        target.tell(&format!("end {b}\n"));
        target.line_after("ended ");
        let c = child(&mut target, "fork c");
        let (collapsed, run) = recording.stop();
        assert_roots(&collapsed, &[&target.pid_arg(), &a, &b, &c]);
        for (pid, function) in [(&a, "work_a"), (&b, "work_b"), (&c, "work_c")] {
            assert_works(&collapsed, pid, function, &run);
        }
        assert!(
            run.stderr.contains("\n4 processes, 4 sampled\n"),
            "{run:#?}"
        );
    });
}
