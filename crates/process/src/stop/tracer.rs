//! The thread that does the tracing for a [`Stopper`](crate::Stopper).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::sched_getcpu;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use super::desk::{Desk, REAP, Reply, Request, TEND};
use super::known::KnownThreads;
use super::tracees::{Tracee, Tracees};
use super::visit::Work;
use crate::sys;
use crate::{Activity, Process, StopFailure, StoppedThread, Thread, Tid, wake_promptly};

/// Works on requests. Everything attached is let go when its thread ends.
#[derive(Debug)]
pub(crate) struct Tracer {
    desk: Arc<Desk>,
    tracees: Tracees,
    /// Those visited last.
    known: KnownThreads,
}

impl Tracer {
    pub(crate) fn new(desk: Arc<Desk>, process: &Process) -> Self {
        Self {
            tracees: Tracees::of(process, Arc::clone(&desk)),
            known: KnownThreads::of(process),
            desk,
        }
    }

    /// Works on requests until told to end.
    pub(crate) fn run(mut self) {
        wake_promptly();
        sys::allow_nudges();
        let desk = Arc::clone(&self.desk);
        let mut state = desk.lock();
        let mut rose = Rose::default();
        while !state.end {
            if let Some(request) = state.request.take() {
                drop(state);
                if request.is_begin() && desk.arrival.is_awaited() && !rose.by_itself {
                    nap();
                }
                rose = Rose::default();
                if matches!(request, Request::Visit { .. }) {
                    desk.arrival.arrive();
                }
                let reply = self.work(request);
                state = desk.lock();
                state.busy = false;
                if std::mem::take(&mut state.given_up) {
                    drop(state);
                    self.tracees.release();
                    state = desk.lock();
                } else {
                    desk.answer(&mut state, reply);
                }
            } else if self.tracees.unsettled() > 0 {
                state = desk.wait(state, TEND).0;
                if state.request.is_none() {
                    drop(state);
                    self.tracees.settle();
                    state = desk.lock();
                }
            } else if !self.tracees.is_empty() {
                // The caller may be stuck in a read: `process_vm_readv` waits
                // for the same mutex before Linux 5.7.
                state = desk.wait(state, REAP).0;
                desk.reap(&state);
            } else if let Some(until) = state.next.take() {
                let here = sched_getcpu();
                (state, rose.by_itself) = desk.rest(state, until);
                // Told to be elsewhere meanwhile, it was woken up there by the CPU of its timer.
                rose.by_itself &= here.is_ok() && sched_getcpu() == here;
                if state.request.is_none() && rose.by_itself && rose.vainly < VAIN {
                    rose.vainly += 1;
                    state.next = Some(Instant::now() + AGAIN);
                }
            } else {
                state = desk.wait_for_ever(state);
                rose = Rose::default();
            }
        }
        drop(state);
        self.tracees.release();
    }

    fn work(&mut self, request: Request) -> Reply {
        match request {
            Request::Stop { tids, deadline } => {
                self.tracees.release();
                self.tracees.hold(&tids, deadline);
            }
            Request::Visit {
                tid,
                deadline,
                work,
            } => {
                self.tracees.release();
                self.visit(tid, deadline, work);
            }
            Request::Release => self.tracees.release(),
            Request::Settle => self.tracees.settle(),
        }
        Reply {
            outcomes: self.tracees.outcomes(),
            unsettled: self.tracees.unsettled(),
        }
    }

    /// Stops a thread, does the work and lets it go. Between stop and detach
    /// there is only what has to be.
    fn visit(&mut self, tid: Tid, deadline: Instant, work: Work) {
        let mut thread = self.begin_unless_it_waits(tid);
        if let Tracee::Awaited = thread {
            thread = self.tracees.wait_for(tid, deadline);
        }
        match thread.outcome() {
            Ok(()) => work.run(Ok(StoppedThread::new(tid))),
            Err(failure) => work.run(Err(failure)),
        }
        self.tracees.let_go(tid, thread);
        self.tracees.settle();
    }

    fn begin_unless_it_waits(&mut self, tid: Tid) -> Tracee {
        if self.desk.arrival.runs() {
            return self.tracees.attach(tid);
        }
        match self.known.ask(tid, Thread::activity) {
            // Of one that has ended there is no stack, nor a pointer to it.
            Ok(Activity::Waiting(call)) if !(call.sp.is_null() && self.tracees.is_dead(tid)) => {}
            Ok(Activity::Waiting(_)) | Err(_) => return self.tracees.begin(tid),
            // It was there a moment ago, by a file that is its own. Whether it still is,
            // whoever wants the work's result asks where that holds nobody up.
            Ok(Activity::Running) => return self.tracees.attach(tid),
        }
        // One that did not stop in time may have stopped since, and wait for us.
        let stopped = self.tracees.stopped_since(tid);
        stopped.unwrap_or(Tracee::Done(StopFailure::Waits))
    }
}

/// How the tracer came to be awake.
#[derive(Debug, Default)]
struct Rose {
    /// By its own timer, on the CPU of the thread that is to be stopped.
    by_itself: bool,
    /// How often that was before there was a request.
    vainly: u32,
}

/// How often, and how soon, the tracer gets up again where the request that it was told of
/// is late.
const VAIN: u32 = 3;
const AGAIN: Duration = Duration::from_micros(40);

/// How long the tracer sleeps on a thread's CPU before it stops the thread: longer than an
/// interrupt from another CPU takes, and by far more and less than others.
const NAP_NS: Range<u64> = 10_000..50_000;

/// Sleeps for a moment on the CPU of the thread that is to be stopped, unless it got up by
/// itself there.
///
/// Whoever has woken us up did so from another CPU, by an interrupt that takes microseconds
/// to arrive, in a virtual machine some ten. A thread that calls the kernel meanwhile has to
/// let us in there and then: stopped at once it would be seen in system calls far too often.
/// Of Python's `logging`, `LogRecord.__init__`, which asks for the number of the process, had
/// 70 % of the stops for 19 % of the time. Our own timer's interrupt comes at once, whatever
/// the thread does.
fn nap() {
    let time = TimeSpec::from_duration(Duration::from_nanos(fastrand::u64(NAP_NS)));
    // Cut short by a signal, as when we are told to give up, it is over.
    let _ = clock_nanosleep(
        ClockId::CLOCK_MONOTONIC,
        ClockNanosleepFlags::empty(),
        &time,
    );
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Also after a panic: nobody is to wait for us.
        self.desk.end();
    }
}
