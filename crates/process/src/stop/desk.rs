use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, WaitTimeoutResult};
use std::time::{Duration, Instant};

use super::arrival::Arrival;
use super::visit::Work;
use crate::sys::{self, Collect};
use crate::{StopFailure, Tid};

/// What the tracer is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    /// Stop these threads and hold them.
    Stop { tids: Vec<Tid>, deadline: Instant },
    /// Stop this thread, do the work on it, and let it go.
    Visit {
        tid: Tid,
        deadline: Instant,
        work: Work,
    },
    /// Let go of everything held.
    Release,
    /// Only say how many are unsettled.
    Settle,
}

impl Request {
    /// Whether it is the first that has to do with a thread, and not the end of it.
    pub(crate) fn is_begin(&self) -> bool {
        match self {
            Self::Stop { .. } | Self::Visit { .. } => true,
            Self::Release | Self::Settle => false,
        }
    }
}

/// What it answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// What came of each thread that was to be stopped.
    pub(crate) outcomes: BTreeMap<Tid, Result<(), StopFailure>>,
    /// Threads still attached although not held.
    pub(crate) unsettled: usize,
}

/// Where requests and replies change hands.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The first thread, if the target is our child: its exit status is not
    /// ours to take.
    spare: Option<Tid>,
    state: Mutex<State>,
    changed: Condvar,
    /// There is a reply, or will never be one.
    answered: AtomicBool,
    /// The tracer waits for a thread to stop, with no end to it but a signal.
    waits: AtomicBool,
    /// Whether the thread runs that is to be visited.
    pub(crate) arrival: Arrival,
}

/// What is done by whoever waits for a reply.
pub(crate) trait Waiting {
    /// Again and again, while the reply is looked for without sleeping.
    fn look(&mut self);

    /// When it takes longer than it should: at the deadline, and once in a while before
    /// and after that.
    fn overdue(&mut self);
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) request: Option<Request>,
    pub(crate) reply: Option<Reply>,
    /// A request is being worked on.
    pub(crate) busy: bool,
    /// Who waits for the reply has to be woken up.
    asleep: bool,
    /// Nobody waits for the reply any more.
    pub(crate) given_up: bool,
    /// The tracer is to end, or has ended.
    pub(crate) end: bool,
    /// What the kernel regards as ours to reap.
    pub(crate) attached: Vec<Tid>,
    /// When the request after this one will be there, if that can be told.
    pub(crate) next: Option<Instant>,
    /// When the tracer gets up by itself.
    rises: Option<Instant>,
}

/// How often the waiting side looks for attached threads that have died, and
/// so how long a target that calls `execve` may be delayed.
pub(crate) const REAP: Duration = Duration::from_millis(50);

/// How often something is tried that a thread is late with.
pub(crate) const TEND: Duration = Duration::from_millis(2);

/// How long beyond its deadline a stop may take before we go on without it.
/// Attaching has no deadline of its own in the kernel.
const GRACE: Duration = Duration::from_secs(1);

/// How long a reply is looked for before we sleep: more than most visits take, once the
/// tracer is there. To go to sleep and to be woken up costs us as much; but it also costs
/// the tracer 10 µs to wake somebody up on another CPU, while the thread that it has let go
/// waits for its own.
const SPIN: Duration = Duration::from_micros(150);

/// A tracer that gets up by itself within this time is not woken up.
pub(crate) const SOON: Duration = Duration::from_micros(150);
/// One that should have by now, and so long ago, may have been kept from it.
const LATE: Duration = Duration::from_micros(50);

impl Desk {
    pub(crate) fn new(spare: Option<Tid>) -> Self {
        Self {
            spare,
            state: Mutex::default(),
            changed: Condvar::new(),
            answered: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            arrival: Arrival::default(),
        }
    }

    /// Has the tracer work on a request that is to be done by `deadline`.
    /// `None` if it did not even get done a second later; what it stops after
    /// that it lets go at once.
    ///
    /// While we wait here we reap attached threads that have died. A thread
    /// that calls `execve` holds `cred_guard_mutex` and waits until all other
    /// threads of its process are reaped (fs/exec.c, `de_thread`; Linux 6.18),
    /// which for attached ones is up to the tracer. But PTRACE_SEIZE waits for
    /// that mutex (kernel/ptrace.c, `ptrace_attach`): without us, target and
    /// tracer would wait for each other for ever.
    ///
    /// `next` is when the tracer gets up by itself for the request after this one. `spin`
    /// says that it can work while we look for its reply without sleeping.
    pub(crate) fn ask(
        &self,
        request: Request,
        next: Option<Instant>,
        deadline: Instant,
        spin: bool,
        waiting: &mut impl Waiting,
    ) -> Option<Reply> {
        let mut state = self.lock();
        if state.busy || state.end {
            return None;
        }
        state.busy = true;
        state.request = Some(request);
        state.next = next;
        self.arrival.begin(spin);
        self.answered.store(false, Ordering::Relaxed);
        let now = Instant::now();
        let rises = state
            .rises
            .filter(|at| now < *at + LATE && *at < now + SOON);
        if rises.is_none() {
            self.changed.notify_all();
        }
        if spin {
            drop(state);
            let give_up = rises.unwrap_or(now) + SPIN;
            while !self.answered.load(Ordering::Acquire) && Instant::now() < give_up {
                waiting.look();
                std::hint::spin_loop();
            }
            self.arrival.leave();
            state = self.lock();
        }
        let give_up = deadline + GRACE;
        loop {
            if let Some(reply) = state.reply.take() {
                return Some(reply);
            }
            if state.end {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            state.asleep = true;
            let (next, waited) = self.wait(state, left.clamp(TEND, REAP));
            state = next;
            state.asleep = false;
            if waited.timed_out() && state.reply.is_none() {
                self.reap(&state);
                if Instant::now() >= give_up {
                    state.given_up = true;
                    return None;
                }
                waiting.overdue();
            }
        }
    }

    /// The tracer's answer to the request that it took.
    pub(crate) fn answer(&self, state: &mut State, reply: Reply) {
        state.reply = Some(reply);
        self.answered.store(true, Ordering::Release);
        if state.asleep {
            self.changed.notify_all();
        }
    }

    /// Has the tracer end, and reaps for it until it does; or says that it has.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.end = true;
        self.answered.store(true, Ordering::Release);
        self.changed.notify_all();
        self.reap(&state);
    }

    /// Any thread of the tracer's process may reap what the tracer has
    /// attached.
    pub(crate) fn reap(&self, state: &State) {
        for tid in &state.attached {
            if Some(*tid) != self.spare {
                // Only ends are collected, so no stop is taken from the
                // tracer, which learns of the end by ECHILD.
                let _ = sys::wait_now(*tid, Collect::Ends);
            }
        }
    }

    /// The first thread, if the target is our child.
    pub(crate) fn spare(&self) -> Option<Tid> {
        self.spare
    }

    /// Whether the tracer waits until it is interrupted.
    pub(crate) fn tracer_waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// The tracer says whether it does.
    pub(crate) fn set_tracer_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Has the tracer sleep until a moment, or until it is woken up; whether it was not.
    pub(crate) fn rest<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        until: Instant,
    ) -> (MutexGuard<'a, State>, bool) {
        state.rises = Some(until);
        let time = until.saturating_duration_since(Instant::now());
        let (mut state, waited) = self.wait(state, time);
        state.rises = None;
        (state, waited.timed_out())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        time: Duration,
    ) -> (MutexGuard<'a, State>, WaitTimeoutResult) {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_for_ever<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}
