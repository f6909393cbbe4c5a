//! Visits to threads that stand still meanwhile.

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Target, until};
use firefinch_memory::Memory;
use firefinch_process::{Errno, Process, ProcessMemory, StopFailure, Stopper, Tid};

/// Long enough for anything that will happen at all.
fn patience() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn counter(target: &Target, memory: &ProcessMemory, index: u64) -> u64 {
    let at = target.counters.offset(index * 8);
    memory.read_u64(at).expect("mapped")
}

/// A target with counting threads, and their numbers in the order they started.
fn spinning(count: usize) -> (Target, Process, Vec<Tid>) {
    let mut target = Target::start();
    target.order(&format!("spin {count}"));
    let process = target.process();
    let tids = process.threads().expect("alive").into_iter().skip(1);
    let tids = tids.collect();
    (target, process, tids)
}

fn assert_untraced(process: &Process) {
    for tid in process.threads().expect("alive") {
        let path = format!("/proc/{}/task/{tid}/status", process.pid());
        // A thread that has ended since is not traced either.
        if let Ok(status) = fs::read_to_string(path) {
            assert!(status.contains("TracerPid:\t0\n"), "{tid} is still traced");
        }
    }
}

/// Whether the thread could be stopped.
fn try_visit(stopper: &mut Stopper, tid: Tid) -> Result<(), StopFailure> {
    let visit = stopper.visit(tid, patience(), |visit| visit.map(|_| ()));
    visit.expect("the tracer lives")
}

/// While it is visited a busy thread does not count although another one of the process gets far, and afterwards it goes on, untraced.
#[test]
fn the_visited_thread_alone_stands_still() {
    let (target, process, tids) = spinning(2);
    let memory = Arc::new(process.memory().unwrap());
    let mut stopper = Stopper::new(&process).unwrap();
    let target = Arc::new(target);
    for round in 0..10 {
        let (index, tid) = (round % 2, tids[round % 2]);
        let (ours, work_target) = (Arc::clone(&memory), Arc::clone(&target));
        let seen = stopper.visit(tid, patience(), move |visit| {
            let thread = visit.expect("it can be stopped");
            assert_eq!(thread.tid(), tid);
            let (still, moving) = (index as u64, 1 - index as u64);
            let count = |index| counter(&work_target, &ours, index);
            let (before, start) = (count(still), count(moving));
            until("the other thread counts", || {
                (count(moving) > start + 100_000).then_some(())
            });
            (before, count(still))
        });
        let (before, after) = seen.expect("the tracer lives");
        assert_eq!(before, after);
        assert_untraced(&process);
        until("it counts again", || {
            (counter(&target, &memory, index as u64) > after).then_some(())
        });
    }
    assert_eq!(stopper.settle(), 0);
}

/// Work that panics panics where it was asked for; its thread goes on, untraced, and others can be visited.
#[test]
fn a_panic_leaves_nothing_behind() {
    let (target, process, tids) = spinning(1);
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    for _ in 0..3 {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            stopper.visit(tids[0], patience(), |_| std::panic::panic_any(7_u8))
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&7_u8));
        assert_untraced(&process);
        let before = counter(&target, &memory, 0);
        until("it counts", || {
            (counter(&target, &memory, 0) > before).then_some(())
        });
        assert_eq!(try_visit(&mut stopper, tids[0]), Ok(()));
    }
}

/// Of a number that is no thread the work learns that it is gone, and of a thread that somebody else traces that it may not be stopped.
#[test]
fn who_cannot_be_visited() {
    let (_target, process, tids) = spinning(1);
    let tid = tids[0];
    let mut stopper = Stopper::new(&process).unwrap();
    let nobody = Tid::new((1 << 22) + 1).unwrap();
    assert_eq!(try_visit(&mut stopper, nobody), Err(StopFailure::Gone));
    let mut other = Stopper::new(&process).unwrap();
    let stopped = other.stop_threads(&tids, patience());
    assert!(stopped.is_complete());
    let denied = StopFailure::Denied(Errno::new(libc::EPERM));
    assert_eq!(try_visit(&mut stopper, tid), Err(denied));
    drop(stopped);
    assert_eq!(try_visit(&mut stopper, tid), Ok(()));
}
