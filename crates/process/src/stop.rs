use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::list::own_pid;
use crate::procfs::ProcDir;
use crate::reaper::Reaper;
use crate::stat::Stat;
use crate::sys::{self, Collect, WaitEvent};
use crate::{AccessError, Errno, Pid, Process, Step, Tid};

/// Stops threads of one process for a moment, by ptrace.
///
/// Each stop is SEIZE, INTERRUPT, wait and DETACH: nothing stays attached
/// between stops, as a traced thread would be parked at every signal until we
/// act on it. If we are killed, the kernel lets everything go.
///
/// The kernel ties a tracee to the *thread* that traces it, so neither this
/// nor its guard can be sent to another thread. And a parent's `waitpid` sees
/// ptrace stops as well: while a guard is held, nobody else in our process may
/// wait for the target, if it is our child.
///
/// A stop ends some system calls of a *blocked* thread with EINTR or a short
/// count (`epoll_wait`, `sigtimedwait`, `semop`, `recv` with a timeout, …):
/// better read blocked threads without a stop.
#[derive(Debug)]
pub struct Stopper {
    pid: Pid,
    dir: Arc<ProcDir>,
    /// We are the target's parent, and its exit status is not ours to take.
    is_child: bool,
    /// Attached but not stopped in time, or ended but not yet reaped.
    unsettled: Vec<Tid>,
    reaper: Reaper,
    _not_send: PhantomData<*const ()>,
}

/// What came of the wish to stop a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// It stands still until the guard is dropped.
    Stopped,
    /// It has ended, or was never there.
    Gone,
    /// It did not stop in time: in state `D`, or a parent inside `vfork`.
    TimedOut,
    /// The kernel refused. EPERM: it has another tracer, or is not ours to trace.
    Denied(Errno),
}

/// Threads that stand still while this exists. All go on when it is dropped.
#[derive(Debug)]
pub struct Stopped<'a> {
    stopper: &'a mut Stopper,
    threads: BTreeMap<Tid, Thread>,
}

/// One thread on its way.
#[derive(Clone, Copy, Debug)]
enum Thread {
    /// Interrupted, not yet stopped.
    Awaited,
    /// Stopped; to be let go with this signal, 0 for none.
    Held(i32),
    /// Nothing to undo.
    Done(StopOutcome),
}

/// How often a wait only gives up the processor before it begins to sleep: a
/// running thread stops within some 20 µs.
const YIELDS: u32 = 50;

/// How long dropping a [`Stopper`] waits for threads that would not stop.
const LAST_WAIT: Duration = Duration::from_millis(200);

impl Stopper {
    /// A stopper for the threads of `process`, bound to the calling thread.
    /// It starts a helper thread, which sleeps nearly always.
    ///
    /// # Errors
    /// [`AccessError`] if there are no resources for that thread.
    pub fn new(process: &Process) -> Result<Self, AccessError> {
        let pid = process.pid();
        let is_child = process.parent() == Some(own_pid());
        let reaper = Reaper::start(is_child.then_some(pid));
        Ok(Self {
            pid,
            dir: process.shared_dir(),
            is_child,
            unsettled: Vec::new(),
            reaper: reaper.map_err(|e| AccessError::io(pid, Step::Ptrace, &e))?,
            _not_send: PhantomData,
        })
    }

    /// Stops these threads, waiting until `deadline` at most. What came of
    /// each is in the guard; none of it is an error for the others.
    pub fn stop_threads(&mut self, tids: &[Tid], deadline: Instant) -> Stopped<'_> {
        let mut stopped = Stopped::new(self);
        stopped.add(tids, deadline);
        stopped
    }

    /// Stops all threads, those born meanwhile included.
    pub fn stop_all(&mut self, deadline: Instant) -> Stopped<'_> {
        let mut stopped = Stopped::new(self);
        // Once a listing shows nobody new, all stand still or are accounted
        // for, and who stands still starts no thread.
        loop {
            let numbers = stopped.stopper.dir.list_numbers("task");
            let tids = numbers.unwrap_or_default().into_iter().filter_map(Tid::new);
            let new: Vec<Tid> = tids
                .filter(|tid| !stopped.threads.contains_key(tid))
                .collect();
            if new.is_empty() {
                return stopped;
            }
            stopped.add(&new, deadline);
            if Instant::now() >= deadline {
                return stopped;
            }
        }
    }

    /// Lets go of threads that did not stop in time but have stopped since.
    /// Returns how many are still to come: call it again soon, as such a
    /// thread stands still from the moment it could have gone on. Ending the
    /// calling thread lets go of them in any case.
    pub fn settle(&mut self) -> usize {
        let unsettled = std::mem::take(&mut self.unsettled);
        for tid in unsettled {
            if !self.try_settle(tid) {
                self.unsettled.push(tid);
            }
        }
        self.reaper.watch_only(&self.unsettled);
        self.unsettled.len()
    }

    fn try_settle(&self, tid: Tid) -> bool {
        match self.wait_now(tid) {
            Ok(WaitEvent::Stopped { signal, event }) => {
                // Refused only if it was killed this moment: then it is to be
                // reaped, by the next call.
                sys::detach(tid, pending_signal(signal, event)).is_ok()
            }
            Ok(WaitEvent::Ended) => true,
            Ok(WaitEvent::None) => {
                // A thread that took over another's number by exec has not
                // heard of our wish. To the others it is no news.
                let _ = sys::interrupt(tid);
                // A first thread that is our child is reaped by whoever started it.
                self.is_child && tid == self.pid.leader() && self.is_dead(tid)
            }
            Err(error) => error.raw_os_error() == Some(libc::ECHILD),
        }
    }

    /// Attaches to a thread and asks it to stop.
    fn begin(&mut self, tid: Tid) -> Thread {
        if let Some(index) = self.unsettled.iter().position(|t| *t == tid) {
            self.unsettled.swap_remove(index);
            return Thread::Awaited;
        }
        if let Err(error) = sys::seize(tid) {
            let errno = Errno::from(&error);
            // EPERM also for a thread that is exiting (kernel/ptrace.c, `ptrace_attach`).
            let gone = errno.is_gone() || (errno.is_denied() && self.is_dead(tid));
            return Thread::Done(if gone {
                StopOutcome::Gone
            } else {
                StopOutcome::Denied(errno)
            });
        }
        self.reaper.watch(tid);
        // Fails only if it has ended since; waiting for it tells.
        let _ = sys::interrupt(tid);
        Thread::Awaited
    }

    /// What became of an awaited thread, if anything.
    fn poll(&mut self, tid: Tid, look_closer: bool) -> Thread {
        match self.wait_now(tid) {
            Ok(WaitEvent::Stopped { signal, event }) => Thread::Held(pending_signal(signal, event)),
            Ok(WaitEvent::Ended) => Thread::Done(StopOutcome::Gone),
            // A first thread that ended before the others is not to be reaped
            // yet, so no wait tells of it.
            Ok(WaitEvent::None) if look_closer && self.is_dead(tid) => {
                self.unsettled.push(tid);
                Thread::Done(StopOutcome::Gone)
            }
            Ok(WaitEvent::None) => Thread::Awaited,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Thread::Awaited,
            Err(_) => Thread::Done(StopOutcome::Gone),
        }
    }

    fn wait_now(&self, tid: Tid) -> io::Result<WaitEvent> {
        // Ended threads that we traced are ours to reap; so is a first thread
        // that is not our child, whose parent is told after that
        // (kernel/exit.c, `wait_task_zombie`). Our own child's status is left.
        let spared = self.is_child && tid == self.pid.leader();
        let collect = if spared {
            Collect::Stops
        } else {
            Collect::Both
        };
        sys::wait_now(tid, collect)
    }

    fn is_dead(&self, tid: Tid) -> bool {
        let text = self.dir.read(&format!("task/{tid}/stat"));
        let stat = text.ok().and_then(|text| Stat::parse(&text).ok());
        stat.is_none_or(|stat| stat.state.is_dead())
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_WAIT;
        let mut round = 0;
        while self.settle() > 0 && Instant::now() < deadline {
            pause(round);
            round += 1;
        }
    }
}

impl<'a> Stopped<'a> {
    fn new(stopper: &'a mut Stopper) -> Self {
        stopper.settle();
        let threads = BTreeMap::new();
        Self { stopper, threads }
    }

    fn add(&mut self, tids: &[Tid], deadline: Instant) {
        for tid in tids {
            if !self.threads.contains_key(tid) {
                let thread = self.stopper.begin(*tid);
                self.threads.insert(*tid, thread);
            }
        }
        let mut round = 0;
        loop {
            let mut awaited = false;
            for (tid, thread) in &mut self.threads {
                if matches!(thread, Thread::Awaited) {
                    *thread = self.stopper.poll(*tid, round >= YIELDS);
                    awaited |= matches!(thread, Thread::Awaited);
                }
            }
            if !awaited {
                return;
            }
            if Instant::now() >= deadline {
                break;
            }
            pause(round);
            round += 1;
        }
        for (tid, thread) in &mut self.threads {
            if matches!(thread, Thread::Awaited) {
                self.stopper.unsettled.push(*tid);
                *thread = Thread::Done(StopOutcome::TimedOut);
            }
        }
    }

    /// What came of each thread, in the order of their numbers.
    pub fn outcomes(&self) -> impl Iterator<Item = (Tid, StopOutcome)> + '_ {
        self.threads
            .iter()
            .map(|(tid, thread)| (*tid, thread.outcome()))
    }

    /// What came of this thread; `None` if it was not asked for.
    pub fn outcome(&self, tid: Tid) -> Option<StopOutcome> {
        self.threads.get(&tid).map(|thread| thread.outcome())
    }

    /// Whether every thread stands still or is gone: nothing in the process moves.
    pub fn is_complete(&self) -> bool {
        self.outcomes()
            .all(|(_, o)| matches!(o, StopOutcome::Stopped | StopOutcome::Gone))
    }
}

impl Thread {
    fn outcome(self) -> StopOutcome {
        match self {
            Self::Held(_) => StopOutcome::Stopped,
            Self::Awaited => StopOutcome::TimedOut,
            Self::Done(outcome) => outcome,
        }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        for (tid, thread) in &self.threads {
            if let Thread::Held(signal) = thread
                && sys::detach(*tid, *signal).is_err()
            {
                // Killed while it stood still; it has to be reaped.
                self.stopper.unsettled.push(*tid);
            }
        }
        self.stopper.settle();
    }
}

/// The signal to pass on when letting go. A stop at a signal (event 0) has
/// taken the signal from the thread, and it has to get it back. An interrupt
/// carries SIGTRAP, which is no signal to the target, and a group-stop carries
/// SIGSTOP or its kin, in which the kernel leaves the thread by itself
/// (kernel/ptrace.c, `__ptrace_unlink`).
fn pending_signal(signal: i32, event: i32) -> i32 {
    if event == 0 { signal } else { 0 }
}

fn pause(round: u32) {
    if round < YIELDS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(Duration::from_micros(50));
    }
}
