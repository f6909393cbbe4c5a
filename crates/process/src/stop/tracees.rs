use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::desk::Desk;
use crate::procfs::ProcDir;
use crate::stat::Stat;
use crate::sys::{self, Collect, WaitEvent};
use crate::{Errno, Pid, Process, StopFailure, Tid};

/// The threads of one process that ptrace has attached us to: from the wish that they
/// stop until they are let go. Only the thread that attached to them may ask.
#[derive(Debug)]
pub(crate) struct Tracees {
    desk: Arc<Desk>,
    pid: Pid,
    dir: Arc<ProcDir>,
    /// Those that were to be held, and what came of each.
    threads: BTreeMap<Tid, Tracee>,
    /// Attached but not stopped in time, or ended but not yet reaped.
    unsettled: Vec<Tid>,
}

/// One thread on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tracee {
    /// Interrupted, not yet stopped.
    Awaited,
    /// Stopped; to be let go with this signal, 0 for none.
    Held(i32),
    /// Nothing to undo.
    Done(StopFailure),
}

impl Tracees {
    /// None yet.
    pub(crate) fn of(process: &Process, desk: Arc<Desk>) -> Self {
        Self {
            desk,
            pid: process.pid(),
            dir: process.shared_dir(),
            threads: BTreeMap::new(),
            unsettled: Vec::new(),
        }
    }

    /// Whether none is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// What came of each that was to be held.
    pub(crate) fn outcomes(&self) -> BTreeMap<Tid, Result<(), StopFailure>> {
        let outcomes = self.threads.iter().map(|(tid, t)| (*tid, t.outcome()));
        outcomes.collect()
    }

    /// How many are attached although not held.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// One that did not stop in time, if it has stopped since.
    pub(crate) fn stopped_since(&mut self, tid: Tid) -> Option<Tracee> {
        let index = self.unsettled.iter().position(|t| *t == tid)?;
        let thread = self.look(tid, false)?;
        self.unsettled.swap_remove(index);
        Some(thread)
    }

    /// Stops these threads, and holds them until they are released.
    pub(crate) fn hold(&mut self, tids: &[Tid], deadline: Instant) {
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

    /// Attaches to a thread of the process and asks it to stop.
    pub(crate) fn begin(&mut self, tid: Tid) -> Tracee {
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
    pub(crate) fn attach(&mut self, tid: Tid) -> Tracee {
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
    pub(crate) fn wait_for(&mut self, tid: Tid, deadline: Instant) -> Tracee {
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
    pub(crate) fn release(&mut self) {
        for (tid, thread) in std::mem::take(&mut self.threads) {
            self.let_go(tid, thread);
        }
        self.settle();
    }

    /// Lets go of one that stands still.
    pub(crate) fn let_go(&mut self, tid: Tid, thread: Tracee) {
        if let Tracee::Held(signal) = thread
            && sys::detach(tid, signal).is_err()
        {
            // Killed while it stood still; it has to be reaped.
            self.keep(tid);
        }
    }

    /// Lets go of threads that did not stop in time but have stopped since:
    /// such a thread stands still from the moment it could have gone on.
    pub(crate) fn settle(&mut self) {
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

    /// Whether a thread is not attached any more.
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

    /// What a wait for the thread is to collect.
    fn collect(&self, tid: Tid) -> Collect {
        // Ended threads that we traced are ours to reap; so is a first thread
        // that is not our child, whose parent is told after that
        // (kernel/exit.c, `wait_task_zombie`).
        match self.desk.spare() {
            Some(spare) if spare == tid => Collect::Stops,
            _ => Collect::Both,
        }
    }

    /// Whether it will not run any more, or is no more.
    pub(crate) fn is_dead(&self, tid: Tid) -> bool {
        let text = self.dir.read(&format!("task/{tid}/stat"));
        let stat = text.ok().and_then(|text| Stat::parse(&text).ok());
        stat.is_none_or(|stat| stat.state.is_dead())
    }
}

impl Tracee {
    /// Whether it stands still.
    pub(crate) fn outcome(self) -> Result<(), StopFailure> {
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
