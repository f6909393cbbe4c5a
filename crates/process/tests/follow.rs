//! On which CPU a thread is stopped from.

mod common;

use common::patience;
use common::visits::{spinning, visit_running};
use firefinch_process::{Stopper, Tid};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd;

/// The CPUs that we may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(unistd::Pid::from_raw(0)).expect("fewer than 1,024");
    members(&set)
}

fn members(set: &CpuSet) -> Vec<usize> {
    let is_set = |cpu: &usize| set.is_set(*cpu).expect("a place in the set");
    (0..CpuSet::count()).filter(is_set).collect()
}

fn bind(tid: i32, cpu: usize) {
    let mut only = CpuSet::new();
    only.set(cpu).expect("a place in the set");
    sched_setaffinity(unistd::Pid::from_raw(tid), &only).expect("one of ours");
}

/// The CPUs that the tracer may use while it stops the thread.
fn while_stopped(stopper: &mut Stopper, tid: Tid) -> Vec<usize> {
    visit_running(stopper, tid).expect("it runs");
    let seen = stopper.visit(tid, patience(), |visit| {
        visit.map(|_| members(&sched_getaffinity(unistd::Pid::from_raw(0)).expect("as before")))
    });
    match seen.expect("the tracer lives") {
        Ok(cpus) => cpus,
        // Just let go, it may look like one that waits.
        Err(_) => while_stopped(stopper, tid),
    }
}

/// The tracer goes to where each thread is, and no further than we have been bound to.
#[test]
fn the_tracer_goes_to_the_thread_where_it_may() {
    let cpus = allowed();
    let (&[first, ..], &[.., last]) = (&cpus[..], &cpus[..]) else {
        panic!("no CPU at all");
    };
    let (_target, process, tids) = spinning(2);
    for (tid, cpu) in tids.iter().zip([first, last]) {
        bind(tid.get(), cpu);
    }

    let mut stopper = Stopper::new(&process).unwrap();
    for (tid, cpu) in tids.iter().zip([first, last]) {
        assert_eq!(while_stopped(&mut stopper, *tid), [cpu]);
    }

    // Whoever starts a stopper has its tracer inherit what it is bound to.
    bind(0, first);
    let mut stopper = Stopper::new(&process).unwrap();
    for tid in tids {
        assert_eq!(while_stopped(&mut stopper, tid), [first]);
    }
}
