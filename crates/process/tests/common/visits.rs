//! Threads to visit, and visiting them.

use firefinch_process::{Process, StopFailure, Stopper, Thread, Tid};

use super::{Target, patience, until};

/// A target with counting threads, and their numbers in the order they started.
pub(crate) fn spinning(count: usize) -> (Target, Process, Vec<Tid>) {
    let mut target = Target::start();
    target.order(&format!("spin {count}"));
    let process = target.process();
    let tids = threads_named(&process, "spin-");
    assert_eq!(tids.len(), count);
    (target, process, tids)
}

pub(crate) fn threads_named(process: &Process, start: &str) -> Vec<Tid> {
    let named = |tid: &Tid| {
        let thread = Thread::open(process, *tid).and_then(|thread| thread.comm());
        thread.is_ok_and(|name| name.starts_with(start))
    };
    let tids = process.threads().expect("alive").into_iter();
    tids.filter(named).collect()
}

/// Whether the thread could be stopped.
pub(crate) fn try_visit(stopper: &mut Stopper, tid: Tid) -> Result<(), StopFailure> {
    let visit = stopper.visit(tid, patience(), |visit| visit.map(|_| ()));
    visit.expect("the tracer lives")
}

/// The same of a thread that runs. For some microseconds after it has been let
/// go, while the kernel wakes it up, it looks like one that waits.
pub(crate) fn visit_running(stopper: &mut Stopper, tid: Tid) -> Result<(), StopFailure> {
    until("it runs", || {
        let seen = try_visit(stopper, tid);
        (seen != Err(StopFailure::Waits)).then_some(seen)
    })
}
