//! The thread that does the tracing for a [`Stopper`](crate::Stopper).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::desk::{Desk, REAP, Reply, Request, TEND};
use crate::known::KnownThreads;
use crate::procfs::ProcDir;
use crate::stat::Stat;
use crate::sys::{self, Collect, WaitEvent};
use crate::visit::Work;
use crate::{
    Activity, Errno, Pid, Process, StopFailure, StoppedThread, Thread, Tid, wake_promptly,
};

/// The tracing itself. Everything attached is let go when its thread ends.
#[derive(Debug)]
pub(crate) struct Tracer {
    desk: Arc<Desk>,
    pid: Pid,
    dir: Arc<ProcDir>,
    threads: BTreeMap<Tid, Tracee>,
    /// Those visited last.
    known: KnownThreads,
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
    pub(crate) fn new(desk: Arc<Desk>, process: &Process) -> Self {
        Self {
            desk,
            pid: process.pid(),
            dir: process.shared_dir(),
            threads: BTreeMap::new(),
            known: KnownThreads::of(process),
            unsettled: Vec::new(),
        }
    }

    /// Works on requests until told to end.
    pub(crate) fn run(mut self) {
        wake_promptly();
        sys::allow_nudges();
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
                    desk.answer(&mut state, reply);
                }
            } else if !self.unsettled.is_empty() {
                state = desk.wait(state, TEND).0;
                if state.request.is_none() {
                    drop(state);
                    self.settle();
                    state = desk.lock();
                }
            } else if !self.threads.is_empty() {
                // The caller may be stuck in a read: `process_vm_readv` waits
                // for the same mutex before Linux 5.7.
                state = desk.wait(state, REAP).0;
                desk.reap(&state);
            } else {
                state = desk.wait_for_ever(state);
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
        for tid in tids {
            if let Some(Tracee::Awaited) = self.threads.get(tid) {
                let thread = self.wait_for(*tid, deadline);
                self.threads.insert(*tid, thread);
            }
        }
    }

    /// Stops a thread, does the work and lets it go. Between stop and detach
    /// there is only what has to be.
    fn visit(&mut self, tid: Tid, deadline: Instant, work: Work) {
        let mut thread = self.begin_unless_it_waits(tid);
        if let Tracee::Awaited = thread {
            thread = self.wait_for(tid, deadline);
        }
        match thread.outcome() {
            Ok(()) => work.run(Ok(StoppedThread::new(tid))),
            Err(failure) => work.run(Err(failure)),
        }
        self.let_go(tid, thread);
        self.settle();
    }

    fn begin_unless_it_waits(&mut self, tid: Tid) -> Tracee {
        match self.known.ask(tid, Thread::activity) {
            // Of one that has ended there is no stack, nor a pointer to it.
            Ok(Activity::Waiting(call)) if !(call.sp.is_null() && self.is_dead(tid)) => {}
            Ok(Activity::Waiting(_)) | Err(_) => return self.begin(tid),
            // It was there a moment ago, by a file that is its own. Whether it still is,
            // whoever wants the work's result asks where that holds nobody up.
            Ok(Activity::Running) => return self.attach(tid),
        }
        // One that did not stop in time may have stopped since, and wait for us.
        if let Some(index) = self.unsettled.iter().position(|t| *t == tid)
            && let Some(thread) = self.look(tid, false)
        {
            self.unsettled.swap_remove(index);
            return thread;
        }
        Tracee::Done(StopFailure::Waits)
    }

    /// Attaches to a thread of the process and asks it to stop.
    fn begin(&mut self, tid: Tid) -> Tracee {
        let thread = self.attach(tid);
        // Asked of one that is attached, as its number is its own from then on: it may
        // have gone to a thread of another process before. That one can be let go only
        // where it stands still. Or it has called exec, and has the first thread's.
        if let Tracee::Awaited = thread
            && self.is_gone(tid)
        {
            self.keep(tid);
            self.keep(self.pid.leader());
            return Tracee::Done(StopFailure::Gone);
        }
        thread
    }

    /// Attaches to the thread that has this number and asks it to stop.
    fn attach(&mut self, tid: Tid) -> Tracee {
        if let Some(index) = self.unsettled.iter().position(|t| *t == tid) {
            if self.is_gone(tid) {
                return Tracee::Done(StopFailure::Gone);
            }
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

    /// Whether this is no thread of the process any more, ended ones that nobody has
    /// reaped being some.
    fn is_gone(&self, tid: Tid) -> bool {
        let there = self.dir.links(&format!("task/{tid}"));
        there.is_err_and(|error| Errno::from(&error).is_gone())
    }

    /// Waits for a thread to stop. It often runs where we do, and then has to
    /// be given the processor; who sleeps meanwhile, and is woken up by it, is
    /// the first to have it back, before others that compute. Looking again
    /// and again held it up there by 50 µs, and on a busy machine made stops
    /// last milliseconds.
    ///
    /// Such a sleep knows no deadline, so who waits for us interrupts it.
    fn wait_for(&mut self, tid: Tid, deadline: Instant) -> Tracee {
        self.desk.set_tracer_waits(true);
        let stopped = loop {
            let late = Instant::now() >= deadline;
            if let Some(thread) = self.look(tid, !late) {
                break thread;
            }
            // A first thread that ended before the others is not to be reaped
            // yet, so no wait tells of it.
            if self.is_dead(tid) {
                self.keep(tid);
                break Tracee::Done(StopFailure::Gone);
            }
            if late {
                self.keep(tid);
                break Tracee::Done(StopFailure::TimedOut);
            }
            // A thread that calls exec may have missed our wish (seen on Linux
            // 6.18). To the others it is no news.
            let _ = sys::interrupt(tid);
        };
        self.desk.set_tracer_waits(false);
        stopped
    }

    /// What became of a thread that was asked to stop; `None` if nothing yet,
    /// which if we wait means that we were interrupted.
    fn look(&mut self, tid: Tid, wait: bool) -> Option<Tracee> {
        let event = match wait {
            true => sys::wait(tid, self.collect(tid)),
            false => sys::wait_now(tid, self.collect(tid)),
        };
        match event {
            Ok(WaitEvent::Stopped { signal, event }) => {
                Some(Tracee::Held(pending_signal(signal, event)))
            }
            Ok(WaitEvent::Ended) => Some(Tracee::Done(StopFailure::Gone)),
            Ok(WaitEvent::None) => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(_) => {
                // It has ended and is reaped, or has called exec and goes by
                // the number of the first thread now, where it waits for us.
                self.keep(self.pid.leader());
                Some(Tracee::Done(StopFailure::Gone))
            }
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
            self.keep(tid);
        }
    }

    /// Lets go of threads that did not stop in time but have stopped since:
    /// such a thread stands still from the moment it could have gone on.
    fn settle(&mut self) {
        for tid in std::mem::take(&mut self.unsettled) {
            if !self.try_settle(tid) {
                self.keep(tid);
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

    /// Remembers a thread that may still be attached.
    fn keep(&mut self, tid: Tid) {
        if !self.unsettled.contains(&tid) {
            self.unsettled.push(tid);
        }
    }

    fn try_settle(&self, tid: Tid) -> bool {
        match sys::wait_now(tid, self.collect(tid)) {
            Ok(WaitEvent::Stopped { signal, event }) => {
                // Refused only if it was killed this moment: then it is to be
                // reaped, by the next call.
                sys::detach(tid, pending_signal(signal, event)).is_ok()
            }
            Ok(WaitEvent::Ended) => true,
            Ok(WaitEvent::None) => {
                // A thread that called exec may not have heard of our wish, or
                // only the one whose number it took over.
                let interrupt = sys::interrupt(tid);
                let is_ours = interrupt.map_err(|e| e.raw_os_error()) != Err(Some(libc::ESRCH));
                // A first thread that is our child is reaped by whoever started it.
                !is_ours || (self.desk.spare() == Some(tid) && self.is_dead(tid))
            }
            Err(error) => error.raw_os_error() == Some(libc::ECHILD),
        }
    }

    fn collect(&self, tid: Tid) -> Collect {
        // Ended threads that we traced are ours to reap; so is a first thread
        // that is not our child, whose parent is told after that
        // (kernel/exit.c, `wait_task_zombie`).
        match self.desk.spare() {
            Some(spare) if spare == tid => Collect::Stops,
            _ => Collect::Both,
        }
    }

    fn is_dead(&self, tid: Tid) -> bool {
        let text = self.dir.read(&format!("task/{tid}/stat"));
        let stat = text.ok().and_then(|text| Stat::parse(&text).ok());
        stat.is_none_or(|stat| stat.state.is_dead())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Also after a panic: nobody is to wait for us.
        self.desk.end();
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
