mod arrival;
mod aside;
mod desk;
mod follow;
mod known;
mod tracees;
mod tracer;
mod visit;

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::unistd;

use crate::list::own_pid;
use crate::sys;
use crate::{AccessError, Errno, Pid, Process, Step, Tid};

use desk::{Desk, Reply, Request, SOON, Waiting};
use follow::Follower;
use tracer::Tracer;
use visit::Work;
pub use visit::{StoppedThread, Visit};

/// Stops threads of one process for a moment, by ptrace.
///
/// Each stop is SEIZE, INTERRUPT, wait and DETACH: nothing stays attached
/// between stops, as a traced thread would be parked at every signal until we
/// act on it. If we are killed, the kernel lets everything go.
///
/// The kernel ties a tracee to the *thread* that traces it, can detach it only
/// while it stands still, and lets it go in any state when that thread ends.
/// So each stopper has a thread of its own for the tracing, which ends with
/// it: a thread that would not stop is never left attached.
///
/// A parent's `waitpid` sees ptrace stops as well: while a guard is held,
/// nobody else in our process may wait for the target, if it is our child.
///
/// A stop ends some system calls of a *blocked* thread with EINTR or a short
/// count (`epoll_wait`, `sigtimedwait`, `semop`, `recv` with a timeout, …):
/// better read blocked threads without a stop.
#[derive(Debug)]
pub struct Stopper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
    /// The number of that thread.
    tracer: unistd::Pid,
    follower: Follower,
    schedule: Schedule,
}

/// When the tracer has to get up to be there in time.
#[derive(Debug, Default)]
struct Schedule {
    /// When whoever uses the stopper begins with what leads to the next request.
    expected: Option<Instant>,
    /// The same for the request that is under way.
    due: Option<Instant>,
    /// How long that took from there, at most, of late.
    lag: Duration,
}

/// Why a thread could not be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopFailure {
    /// It has ended, or was never there.
    Gone,
    /// It waits, or has been stopped by somebody else: it does not move anyway,
    /// and an interrupted wait might end with EINTR. Only of a
    /// [`visit`](Stopper::visit).
    Waits,
    /// It did not stop in time: in state `D`, or a parent inside `vfork`.
    TimedOut,
    /// The kernel refused. EPERM: it has another tracer, or is not ours to trace.
    Denied(Errno),
}

/// Threads that stand still while this exists. All go on when it is dropped.
#[derive(Debug)]
pub struct Stopped<'a> {
    stopper: &'a mut Stopper,
    outcomes: BTreeMap<Tid, Result<(), StopFailure>>,
    complete: bool,
}

/// A part of [`Schedule::lag`] that is forgotten each time.
const FORGET: u32 = 16;
/// How much later than that the tracer gets up.
const MARGIN: Duration = Duration::from_micros(10);

/// How long the end of the tracer is waited for.
const GRACE: Duration = Duration::from_secs(1);

impl Stopper {
    /// A stopper for the threads of `process`.
    ///
    /// # Errors
    /// [`AccessError`] if there are no resources for another thread.
    pub fn new(process: &Process) -> Result<Self, AccessError> {
        let pid = process.pid();
        let is_child = process.parent() == Some(own_pid());
        let spare = is_child.then_some(pid);
        let desk = Arc::new(Desk::new(spare.map(Pid::leader)));
        let tracer = Tracer::new(Arc::clone(&desk), process);
        let builder = std::thread::Builder::new().name("tracer".to_owned());
        let (sender, number) = mpsc::channel();
        let thread = builder.spawn(move || {
            let _ = sender.send(unistd::gettid());
            tracer.run();
        });
        let thread = thread.map_err(|e| AccessError::io(pid, Step::Ptrace, &e))?;
        let number = number.recv();
        let tracer = number.map_err(|_| AccessError::new(pid, Step::Ptrace, Errno::EIO))?;
        Ok(Self {
            desk,
            thread: Some(thread),
            tracer,
            follower: Follower::new(process, tracer),
            schedule: Schedule::default(),
        })
    }

    /// Whoever uses this is going to begin with the next tick at a moment, and to have
    /// threads stopped or visited then if any are to be. The tracer gets up by itself
    /// for that, unless nothing is asked of it until then: to be woken up from another CPU
    /// takes longer, and meanwhile a thread may go where it would not have been found (see
    /// `nap`).
    pub fn expect(&mut self, moment: Instant) {
        self.schedule.expect(moment);
    }

    /// Stops these threads, waiting until `deadline` at most. What came of
    /// each is in the guard; none of it is an error for the others.
    pub fn stop_threads(&mut self, tids: &[Tid], deadline: Instant) -> Stopped<'_> {
        match tids {
            [tid] => self.follower.follow(*tid),
            _ => self.follower.leave(),
        }
        let request = Request::Stop {
            tids: tids.to_vec(),
            deadline,
        };
        let reply = self.ask(request, deadline);
        let complete = reply.is_some();
        let late = || tids.iter().map(|tid| (*tid, Err(StopFailure::TimedOut)));
        Stopped {
            stopper: self,
            outcomes: reply.map_or_else(|| late().collect(), |reply| reply.outcomes),
            complete,
        }
    }

    /// Stops one running thread, does the work while it stands still, and lets
    /// it go; without the stop if it cannot be stopped by `deadline`. What the
    /// work returns is had once the thread runs again.
    ///
    /// A thread that waits is not interrupted. That is found out just before
    /// the interrupt, by us where we run on another CPU than the tracer and else
    /// by the tracer. The interrupt comes some 5 µs later: whoever begins to wait in
    /// those may still see EINTR, but cannot while the tracer has its CPU. Should it end
    /// in those, another thread that is given its number is stopped in its place: what
    /// the work returns is believed only if the [`Thread`](crate::Thread) can still be
    /// asked afterwards.
    ///
    /// The work is done by the tracer itself, so that the stop does not last
    /// longer for handing over between two of our threads. It owns what it
    /// needs, and gives it back in what it returns: if it should hang (before
    /// Linux 5.7 `process_vm_readv` may, see `Desk::ask`), we go on without.
    ///
    /// `None` if the tracer hangs, now or from an earlier call: then the work
    /// is lost with all that it owns, and if it is done later nobody hears of
    /// it.
    ///
    /// # Panics
    /// If the work does. The thread has been let go then, and others can be
    /// visited.
    pub fn visit<T: Send + 'static>(
        &mut self,
        tid: Tid,
        deadline: Instant,
        work: impl FnOnce(Visit<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (work, outcome) = Work::new(work);
        self.follower.follow(tid);
        let request = Request::Visit {
            tid,
            deadline,
            work,
        };
        self.ask(request, deadline)?;
        outcome.take()
    }

    /// Comes back from where threads were followed to; they are followed anew by
    /// whoever has them stopped or visited next.
    pub fn rest(&mut self) {
        self.follower.leave();
    }

    /// How many threads that did not stop in time are still attached. They are
    /// let go as soon as they can be, without further calls.
    pub fn settle(&mut self) -> usize {
        let reply = self.ask(Request::Settle, Instant::now());
        reply.map_or(0, |reply| reply.unsettled)
    }

    fn ask(&mut self, request: Request, deadline: Instant) -> Option<Reply> {
        let spin = self.follower.is_elsewhere();
        let tid = match request {
            Request::Visit { tid, .. } => Some(tid),
            _ => None,
        };
        let next = self.schedule.next();
        let mut asker = Asker {
            desk: &self.desk,
            tracer: self.tracer,
            follower: &mut self.follower,
            tid,
        };
        self.desk.ask(request, next, deadline, spin, &mut asker)
    }
}

impl Schedule {
    fn expect(&mut self, moment: Instant) {
        self.due = self.expected.replace(moment);
    }

    /// Something is asked for: when the tracer gets up for what is asked for next.
    fn next(&mut self) -> Option<Instant> {
        if let Some(due) = self.due.take() {
            let lag = Instant::now().saturating_duration_since(due).min(SOON);
            // The longest counts, and is forgotten slowly.
            self.lag = lag.max(self.lag - self.lag / FORGET);
        }
        // Whoever is always asked so late is not there by then.
        let expected = self.expected.filter(|_| self.lag < SOON);
        Some(expected? + self.lag + MARGIN)
    }
}

/// Who waits for what the tracer was asked to do.
struct Asker<'a> {
    desk: &'a Desk,
    tracer: unistd::Pid,
    follower: &'a mut Follower,
    /// The thread that is to be visited.
    tid: Option<Tid>,
}

impl Waiting for Asker<'_> {
    fn look(&mut self) {
        if let Some(tid) = self.tid
            && self.desk.arrival.is_due()
        {
            let runs = self.follower.runs(tid);
            self.desk.arrival.tell(runs);
        }
    }

    fn overdue(&mut self) {
        self.follower.leave();
        if self.desk.tracer_waits() {
            sys::nudge(self.tracer);
        }
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.desk.end();
        // It ends at once, unless attaching keeps it: then it ends after that.
        let give_up = Instant::now() + GRACE;
        while !thread.is_finished() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_micros(100));
            self.desk.reap(&self.desk.lock());
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

impl Stopped<'_> {
    /// What came of each thread, in the order of their numbers: whether it
    /// stands still, and else why not.
    pub fn outcomes(&self) -> impl Iterator<Item = (Tid, Result<(), StopFailure>)> + '_ {
        self.outcomes.iter().map(|(tid, outcome)| (*tid, *outcome))
    }

    /// What came of this thread; `None` if it was not asked for.
    pub fn outcome(&self, tid: Tid) -> Option<Result<(), StopFailure>> {
        self.outcomes.get(&tid).copied()
    }

    /// Whether every thread that was to stop stands still or is gone.
    pub fn is_complete(&self) -> bool {
        let still = |o: &Result<_, _>| matches!(o, Ok(()) | Err(StopFailure::Gone));
        self.complete && self.outcomes.values().all(still)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        // If the tracer is still at it, it lets go of what it finds by itself.
        self.stopper.ask(Request::Release, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tracer gets up as long after the next tick as requests come after theirs, and not at all where they come too late for that, until they do not.
    #[test]
    fn up_when_asked() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(), None);
        let begun = Instant::now();
        schedule.expect(begun);
        assert_eq!(schedule.next(), Some(begun + MARGIN));
        let next = begun + Duration::from_secs(1);
        schedule.expect(next);
        std::thread::sleep(Duration::from_micros(1));
        let first = schedule.next().filter(|up| *up > next + MARGIN);
        assert!(first.is_none_or(|up| up < next + MARGIN + SOON));
        // What is asked for afterwards in the same tick says nothing of the next one.
        std::thread::sleep(SOON);
        assert_eq!(schedule.next(), first);
        schedule.expect(begun);
        schedule.expect(next);
        assert_eq!(schedule.next(), None);
        let is_up = (0..200).any(|_| {
            schedule.expect(Instant::now());
            schedule.expect(next);
            schedule.next().is_some_and(|up| up < next + SOON)
        });
        assert!(is_up);
    }
}
