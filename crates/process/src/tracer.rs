//! The thread that does the tracing for a [`Stopper`](crate::Stopper).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::procfs::ProcDir;
use crate::stat::Stat;
use crate::sys::{self, Collect, WaitEvent};
use crate::visit::Work;
use crate::{
    AccessError, Activity, Errno, Pid, Process, StopFailure, StoppedThread, Thread, Tid,
    sleep_precisely,
};

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

/// What it answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// What came of each thread that was to be stopped.
    pub(crate) outcomes: BTreeMap<Tid, Result<(), StopFailure>>,
    /// Threads still attached although not held.
    pub(crate) unsettled: usize,
}

/// Where requests and replies change hands.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    request: Option<Request>,
    reply: Option<Reply>,
    /// A request is being worked on.
    busy: bool,
    /// Nobody waits for the reply any more.
    given_up: bool,
    /// The tracer is to end, or has ended.
    end: bool,
    /// What the kernel regards as ours to reap.
    attached: Vec<Tid>,
}

/// How often the waiting side looks for attached threads that have died, and
/// so how long a target that calls `execve` may be delayed.
const REAP: Duration = Duration::from_millis(50);

/// How often the tracer looks after threads that did not stop in time.
const TEND: Duration = Duration::from_millis(2);

/// How many visited threads' files are kept open: as many as may run at a time
/// on a machine of that many processors, two files each.
const KEPT: usize = 64;

/// How often a wait looks without a pause: a thread that runs on another CPU
/// stops within some 10 µs.
const SPINS: u32 = 20;

/// The pause after that. Whoever sleeps is served before those that compute;
/// whoever only yields waits for all of them, milliseconds on a busy machine.
const PAUSE: Duration = Duration::from_micros(10);

impl Desk {
    /// Has the tracer work on a request, until `give_up` at most. `None` if it
    /// did not get done; what it stops after that it lets go at once.
    ///
    /// While we wait here we reap attached threads that have died. A thread
    /// that calls `execve` holds `cred_guard_mutex` and waits until all other
    /// threads of its process are reaped (fs/exec.c, `de_thread`; Linux 6.18),
    /// which for attached ones is up to the tracer. But PTRACE_SEIZE waits for
    /// that mutex (kernel/ptrace.c, `ptrace_attach`): without us, target and
    /// tracer would wait for each other for ever.
    pub(crate) fn ask(
        &self,
        request: Request,
        spare: Option<Tid>,
        give_up: Instant,
    ) -> Option<Reply> {
        let mut state = self.lock();
        if state.busy || state.end {
            return None;
        }
        state.busy = true;
        state.request = Some(request);
        self.changed.notify_all();
        loop {
            state = self.wait(state, REAP);
            if let Some(reply) = state.reply.take() {
                return Some(reply);
            }
            if state.end {
                return None;
            }
            reap(&state.attached, spare);
            if Instant::now() >= give_up {
                state.given_up = true;
                return None;
            }
        }
    }

    /// Has the tracer end, and reaps for it until it does.
    pub(crate) fn end(&self, spare: Option<Tid>) {
        let mut state = self.lock();
        state.end = true;
        self.changed.notify_all();
        reap(&state.attached, spare);
    }

    /// Reaps once for a tracer that is to end and has not yet.
    pub(crate) fn reap(&self, spare: Option<Tid>) {
        reap(&self.lock().attached, spare);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Any thread of the tracer's process may reap what the tracer has attached.
fn reap(attached: &[Tid], spare: Option<Tid>) {
    for tid in attached {
        if Some(*tid) != spare {
            // Only ends are collected, so no stop is taken from the tracer,
            // which learns of the end by ECHILD.
            let _ = sys::wait_now(*tid, Collect::Ends);
        }
    }
}

/// The tracing itself. Everything attached is let go when its thread ends.
#[derive(Debug)]
pub(crate) struct Tracer {
    desk: Arc<Desk>,
    pid: Pid,
    dir: Arc<ProcDir>,
    /// The first thread, if the target is our child: its exit status is not
    /// ours to take.
    spare: Option<Tid>,
    threads: BTreeMap<Tid, Tracee>,
    /// Files of the threads visited last.
    visited: BTreeMap<Tid, Thread>,
    /// Attached but not stopped in time, or ended but not yet reaped.
    unsettled: Vec<Tid>,
}

/// One thread on its way.
#[derive(Clone, Copy, Debug)]
enum Tracee {
    /// Interrupted, not yet stopped.
    Awaited,
    /// Stopped; to be let go with this signal, 0 for none.
    Held(i32),
    /// Nothing to undo.
    Done(StopFailure),
}

impl Tracer {
    pub(crate) fn new(desk: Arc<Desk>, process: &Process, spare: Option<Pid>) -> Self {
        Self {
            desk,
            pid: process.pid(),
            dir: process.shared_dir(),
            spare: spare.map(Pid::leader),
            threads: BTreeMap::new(),
            visited: BTreeMap::new(),
            unsettled: Vec::new(),
        }
    }

    /// Works on requests until told to end.
    pub(crate) fn run(mut self) {
        sleep_precisely();
        let desk = Arc::clone(&self.desk);
        let mut state = desk.lock();
        while !state.end {
            if let Some(request) = state.request.take() {
                drop(state);
                let reply = self.work(request);
                state = desk.lock();
                state.busy = false;
                if std::mem::take(&mut state.given_up) {
                    drop(state);
                    self.release();
                    state = desk.lock();
                } else {
                    state.reply = Some(reply);
                    desk.changed.notify_all();
                }
            } else if !self.unsettled.is_empty() {
                state = desk.wait(state, TEND);
                if state.request.is_none() {
                    drop(state);
                    self.settle();
                    state = desk.lock();
                }
            } else if !self.threads.is_empty() {
                // The caller may be stuck in a read: `process_vm_readv` waits
                // for the same mutex before Linux 5.7.
                state = desk.wait(state, REAP);
                reap(&state.attached, self.spare);
            } else {
                state = desk
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        drop(state);
        self.release();
    }

    fn work(&mut self, request: Request) -> Reply {
        match request {
            Request::Stop { tids, deadline } => {
                self.release();
                self.hold(&tids, deadline);
            }
            Request::Visit {
                tid,
                deadline,
                work,
            } => {
                self.release();
                self.visit(tid, deadline, work);
            }
            Request::Release => self.release(),
            Request::Settle => self.settle(),
        }
        let outcomes = self.threads.iter().map(|(tid, t)| (*tid, t.outcome()));
        Reply {
            outcomes: outcomes.collect(),
            unsettled: self.unsettled.len(),
        }
    }

    fn hold(&mut self, tids: &[Tid], deadline: Instant) {
        for tid in tids {
            if !self.threads.contains_key(tid) {
                let thread = self.begin(*tid);
                self.threads.insert(*tid, thread);
            }
        }
        let mut patience = Patience::until(deadline);
        loop {
            let mut awaited = false;
            for tid in tids {
                if let Some(Tracee::Awaited) = self.threads.get(tid) {
                    let thread = self.poll(*tid, patience.is_tried());
                    awaited |= matches!(thread, Tracee::Awaited);
                    self.threads.insert(*tid, thread);
                }
            }
            if !awaited {
                return;
            }
            if !patience.wait() {
                break;
            }
        }
        for (tid, thread) in &mut self.threads {
            if matches!(thread, Tracee::Awaited) {
                self.unsettled.push(*tid);
                *thread = Tracee::Done(StopFailure::TimedOut);
            }
        }
    }

    /// Stops a thread, does the work and lets it go. Between stop and detach
    /// there is only what has to be.
    fn visit(&mut self, tid: Tid, deadline: Instant, work: Work) {
        let mut thread = self.begin_unless_it_waits(tid);
        let mut patience = Patience::until(deadline);
        while let Tracee::Awaited = thread {
            thread = self.poll(tid, patience.is_tried());
            if matches!(thread, Tracee::Awaited) && !patience.wait() {
                self.unsettled.push(tid);
                thread = Tracee::Done(StopFailure::TimedOut);
            }
        }
        match thread.outcome() {
            Ok(()) => work.run(Ok(StoppedThread::new(tid))),
            Err(failure) => work.run(Err(failure)),
        }
        self.let_go(tid, thread);
        self.settle();
    }

    fn begin_unless_it_waits(&mut self, tid: Tid) -> Tracee {
        if !self.waits(tid) {
            return self.begin(tid);
        }
        // One that did not stop in time may have stopped since, and wait for us.
        if let Some(index) = self.unsettled.iter().position(|t| *t == tid)
            && let thread @ (Tracee::Held(_) | Tracee::Done(_)) = self.poll(tid, false)
        {
            self.unsettled.swap_remove(index);
            return thread;
        }
        Tracee::Done(StopFailure::Waits)
    }

    /// Whether a thread is seen to wait. One of which that cannot be told is
    /// left to the attempt to attach.
    fn waits(&mut self, tid: Tid) -> bool {
        let known = self.visited.get(&tid).map(Thread::activity);
        let activity = match known {
            Some(Ok(activity)) => Ok(activity),
            // It has ended, and its number may have gone to another one.
            _ => self.open(tid),
        };
        match activity {
            // Of one that has ended there is no stack, nor a pointer to it.
            Ok(Activity::Waiting(call)) => !(call.sp.is_null() && self.is_dead(tid)),
            Ok(Activity::Running) | Err(_) => false,
        }
    }

    fn open(&mut self, tid: Tid) -> Result<Activity, AccessError> {
        self.visited.remove(&tid);
        let thread = Thread::open_in(self.pid, Arc::clone(&self.dir), tid)?;
        let activity = thread.activity()?;
        if self.visited.len() >= KEPT {
            self.visited.clear();
        }
        self.visited.insert(tid, thread);
        Ok(activity)
    }

    /// Attaches to a thread and asks it to stop.
    fn begin(&mut self, tid: Tid) -> Tracee {
        if let Some(index) = self.unsettled.iter().position(|t| *t == tid) {
            self.unsettled.swap_remove(index);
            return Tracee::Awaited;
        }
        if let Err(error) = sys::seize(tid) {
            let errno = Errno::from(&error);
            // EPERM also for a thread that is exiting (kernel/ptrace.c, `ptrace_attach`).
            let gone = errno.is_gone() || (errno.is_denied() && self.is_dead(tid));
            return Tracee::Done(if gone {
                StopFailure::Gone
            } else {
                StopFailure::Denied(errno)
            });
        }
        self.desk.lock().attached.push(tid);
        // Fails only if it has ended since; waiting for it tells.
        let _ = sys::interrupt(tid);
        Tracee::Awaited
    }

    /// What became of an awaited thread, if anything.
    fn poll(&mut self, tid: Tid, look_closer: bool) -> Tracee {
        match self.wait_now(tid) {
            Ok(WaitEvent::Stopped { signal, event }) => Tracee::Held(pending_signal(signal, event)),
            Ok(WaitEvent::Ended) => Tracee::Done(StopFailure::Gone),
            // A first thread that ended before the others is not to be reaped
            // yet, so no wait tells of it.
            Ok(WaitEvent::None) if look_closer && self.is_dead(tid) => {
                self.unsettled.push(tid);
                Tracee::Done(StopFailure::Gone)
            }
            Ok(WaitEvent::None) => {
                if look_closer {
                    // A thread in `execve` can miss the first one.
                    let _ = sys::interrupt(tid);
                }
                Tracee::Awaited
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Tracee::Awaited,
            Err(_) => Tracee::Done(StopFailure::Gone),
        }
    }

    /// Lets go of everything held, and of what can be else.
    fn release(&mut self) {
        for (tid, thread) in std::mem::take(&mut self.threads) {
            self.let_go(tid, thread);
        }
        self.settle();
    }

    fn let_go(&mut self, tid: Tid, thread: Tracee) {
        if let Tracee::Held(signal) = thread
            && sys::detach(tid, signal).is_err()
        {
            // Killed while it stood still; it has to be reaped.
            self.unsettled.push(tid);
        }
    }

    /// Lets go of threads that did not stop in time but have stopped since:
    /// such a thread stands still from the moment it could have gone on.
    fn settle(&mut self) {
        for tid in std::mem::take(&mut self.unsettled) {
            if !self.try_settle(tid) {
                self.unsettled.push(tid);
            }
        }
        let held = self
            .threads
            .iter()
            .filter(|(_, t)| matches!(t, Tracee::Held(_)));
        let attached = held
            .map(|(tid, _)| *tid)
            .chain(self.unsettled.iter().copied());
        let list = &mut self.desk.lock().attached;
        list.clear();
        list.extend(attached);
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
                self.spare == Some(tid) && self.is_dead(tid)
            }
            Err(error) => error.raw_os_error() == Some(libc::ECHILD),
        }
    }

    fn wait_now(&self, tid: Tid) -> io::Result<WaitEvent> {
        // Ended threads that we traced are ours to reap; so is a first thread
        // that is not our child, whose parent is told after that
        // (kernel/exit.c, `wait_task_zombie`).
        let collect = match self.spare {
            Some(spare) if spare == tid => Collect::Stops,
            _ => Collect::Both,
        };
        sys::wait_now(tid, collect)
    }

    fn is_dead(&self, tid: Tid) -> bool {
        let text = self.dir.read(&format!("task/{tid}/stat"));
        let stat = text.ok().and_then(|text| Stat::parse(&text).ok());
        stat.is_none_or(|stat| stat.state.is_dead())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        // Also after a panic: nobody is to wait for us.
        state.end = true;
        self.desk.changed.notify_all();
    }
}

/// How a wait for threads to stop is spent.
#[derive(Debug)]
struct Patience {
    deadline: Instant,
    round: u32,
}

impl Patience {
    fn until(deadline: Instant) -> Self {
        Self { deadline, round: 0 }
    }

    /// Whether it is time, once in a while, to see if there is anything to
    /// wait for.
    fn is_tried(&self) -> bool {
        self.round % SPINS == SPINS - 1
    }

    /// Pauses before the next look, if at all; whether there is to be one.
    fn wait(&mut self) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        if self.round >= SPINS {
            std::thread::sleep(PAUSE);
        }
        self.round += 1;
        true
    }
}

impl Tracee {
    fn outcome(self) -> Result<(), StopFailure> {
        match self {
            Self::Held(_) => Ok(()),
            Self::Awaited => Err(StopFailure::TimedOut),
            Self::Done(failure) => Err(failure),
        }
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
