//! Which threads have run since they were last looked at.

mod common;

use std::time::{Duration, Instant};

use common::{Target, until};
use firefinch_process::{Activity, Look, Process, Question, Watch};

/// A look that is younger than 100 µs is not repeated.
fn look(watch: &mut Watch, process: &Process) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_micros(110) {}
    watch.look(process, Question::WhatAllDo)
}

fn watch_all(process: &Process) -> (Watch, usize) {
    let mut watch = Watch::new();
    let tids = process.threads().expect("a list");
    let count = tids.len();
    watch.set_threads(process, tids);
    (watch, count)
}

/// Whether it waits where it is to wait: a thread that starts may wait
/// elsewhere for a moment.
fn reads(watch: &Watch, index: usize) -> bool {
    match watch.seen(index) {
        Look::At(Activity::Waiting(syscall)) => syscall.number.name() == Some("read"),
        _ => false,
    }
}

fn eight_wait_and_one_spins() -> Target {
    let mut target = Target::start();
    for _ in 0..8 {
        target.order("wait");
    }
    target.order("spin 1");
    target
}

/// While nobody runs, all rests last, and no thread costs more than one call.
#[test]
fn still_threads_are_not_looked_at() {
    let mut target = Target::start();
    for _ in 0..20 {
        target.order("wait");
    }
    let process = target.process();
    let (mut watch, count) = watch_all(&process);
    assert_eq!(count, 21);
    // A thread whose figures were read just before it began to wait shows by
    // the next look that it has run.
    let mut before = None;
    let rests = until("all wait", || {
        look(&mut watch, &process);
        let rests = (0..count).map(|i| watch.rest(i).filter(|_| reads(&watch, i)));
        let rests = rests.collect::<Option<Vec<_>>>();
        let last = std::mem::replace(&mut before, rests.clone());
        match rests == last {
            true => rests,
            false => None,
        }
    });
    for _ in 0..1000 {
        let before = watch.cost().calls;
        assert!(!look(&mut watch, &process));
        let calls = watch.cost().calls - before;
        assert!(calls <= 3 + count as u64, "{calls}");
    }
    let after: Option<Vec<_>> = (0..count).map(|i| watch.rest(i)).collect();
    assert_eq!(after, Some(rests));
}

/// A thread that has run for a moment between two looks and waits again is
/// never taken for one that has not, and the others still are.
#[test]
fn a_short_run_is_noticed() {
    let mut target = eight_wait_and_one_spins();
    let process = target.process();
    let (mut watch, count) = watch_all(&process);
    let leader = watch.index(process.pid().leader()).unwrap();
    let mut proved = 0;
    for _ in 0..500 {
        let before = until("the first thread waits", || {
            look(&mut watch, &process);
            watch.rest(leader)
        });
        let others: Vec<_> = (0..count).map(|i| watch.rest(i)).collect();
        target.order("pass");
        look(&mut watch, &process);
        assert_ne!(watch.rest(leader), Some(before));
        let same = (0..count).filter(|i| others[*i].is_some() && watch.rest(*i) == others[*i]);
        proved = proved.max(same.count());
    }
    assert_eq!(proved, 8);
}

/// A thread that computes never rests, although its figures stand still for
/// milliseconds.
#[test]
fn a_busy_thread_never_rests() {
    let target = eight_wait_and_one_spins();
    let process = target.process();
    let (mut watch, count) = watch_all(&process);
    let tids = process.threads().unwrap();
    let comm = |tid: &_| watch.thread(watch.index(*tid).unwrap()).unwrap().comm();
    let busy = tids.iter().find(|tid| comm(tid).as_deref() == Ok("spin-0"));
    let busy = watch.index(*busy.unwrap()).unwrap();
    let mut run_ns = 0;
    for _ in 0..2000 {
        look(&mut watch, &process);
        assert_eq!(watch.seen(busy), Look::At(Activity::Running));
        assert_eq!(watch.rest(busy), None);
        let now = watch.run_ns(busy).unwrap();
        assert!(now >= run_ns);
        run_ns = now;
    }
    assert!((0..count).filter(|i| watch.rest(*i).is_some()).count() >= 8);
}

/// Asked only who runs, it finds those that do, says nothing of the others, and
/// sees all that happened once it is asked for that.
#[test]
fn who_runs() {
    let mut target = eight_wait_and_one_spins();
    let process = target.process();
    let (mut watch, count) = watch_all(&process);
    let leader = watch.index(process.pid().leader()).unwrap();
    for _ in 0..200 {
        let before = until("the first thread waits", || {
            look(&mut watch, &process);
            watch.rest(leader)
        });
        target.order("pass");
        for _ in 0..2 {
            std::thread::yield_now();
            watch.look(&process, Question::WhoRuns);
            let runs = |i: &usize| watch.seen(*i) == Look::At(Activity::Running);
            let running: Vec<_> = (0..count).filter(runs).collect();
            assert!(!running.is_empty());
            assert!(running.iter().all(|i| watch.awake().contains(i)));
        }
        look(&mut watch, &process);
        assert_ne!(watch.rest(leader), Some(before));
    }
}

/// A thread that ends is said to be gone, and one that stays keeps its rest
/// when the others are told anew.
#[test]
fn ended_threads_are_gone() {
    let mut target = Target::start();
    target.order("wait");
    target.order("spin 1");
    let process = target.process();
    let (mut watch, _) = watch_all(&process);
    let tids = process.threads().unwrap();
    let waiting = watch.index(tids[1]).unwrap();
    let rest = until("it waits", || {
        look(&mut watch, &process);
        watch.rest(waiting).filter(|_| reads(&watch, waiting))
    });
    let busy = watch.index(tids[2]).unwrap();
    assert_eq!(watch.seen(busy), Look::At(Activity::Running));
    target.order("end 0");
    until("it is gone", || look(&mut watch, &process).then_some(()));
    assert_eq!(watch.seen(busy), Look::Gone);
    watch.set_threads(&process, tids.iter().rev().copied());
    assert_eq!(watch.index(tids[2]), None);
    look(&mut watch, &process);
    assert_eq!(watch.rest(watch.index(tids[1]).unwrap()), Some(rest));
}
