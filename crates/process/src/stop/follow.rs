use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd;

use super::aside::Aside;
use super::known::KnownThreads;
use crate::stat::Stat;
use crate::{Activity, Process, Thread, Tid};

/// Has the tracer run where the thread runs that it is to stop.
///
/// On another CPU it interrupts that thread's and wakes it up again after the
/// stop, and each takes some 10 µs in a virtual machine; the thread's stack is
/// in the other cache. On the same one there is only a switch to the thread and
/// one back. At 1 kHz, with 16 KB of stack copied, a thread lost 3.2 % of its
/// time that way and 4.3 % to a tracer on another CPU. And while the tracer
/// runs there, the thread cannot begin to wait.
///
/// Whoever has bound us to some CPUs (`taskset`) has the tracer stay on them.
#[derive(Debug)]
pub(crate) struct Follower {
    tracer: unistd::Pid,
    known: KnownThreads,
    /// Where it may run; `None` if that is more than can be told.
    anywhere: Option<CpuSet>,
    /// Where it has to run now, if it has to.
    at: Option<usize>,
    /// Us.
    aside: Aside,
}

impl Follower {
    pub(crate) fn new(process: &Process, tracer: unistd::Pid) -> Self {
        Self {
            tracer,
            known: KnownThreads::of(process),
            anywhere: sched_getaffinity(tracer).ok(),
            at: None,
            aside: Aside::default(),
        }
    }

    /// To where the thread is.
    pub(crate) fn follow(&mut self, tid: Tid) {
        let Some(anywhere) = &self.anywhere else {
            return;
        };
        let stat = self.known.ask(tid, Thread::stat);
        let place = stat.ok().and_then(|stat| place(&stat));
        match place.filter(|at| anywhere.is_set(*at).unwrap_or(false)) {
            Some(processor) if self.at == Some(processor) => {}
            Some(processor) => self.go(processor),
            None => self.leave(),
        }
        self.aside.make_room(self.at);
    }

    /// Whether the thread runs, or would if it had a CPU.
    pub(crate) fn runs(&mut self, tid: Tid) -> bool {
        let activity = self.known.ask(tid, Thread::activity);
        activity == Ok(Activity::Running)
    }

    /// Whether the tracer is where we are not, so that it can work while we do.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.at.is_some() && self.at != sched_getcpu().ok()
    }

    /// To wherever the scheduler likes: nobody waits for a thread that may not
    /// get its CPU.
    pub(crate) fn leave(&mut self) {
        self.aside.come_back();
        if let (Some(anywhere), Some(_)) = (&self.anywhere, self.at) {
            // Fails only if none of them is left to us.
            let _ = sched_setaffinity(self.tracer, anywhere);
            self.at = None;
        }
    }

    fn go(&mut self, processor: usize) {
        let mut only = CpuSet::new();
        let set = only.set(processor);
        // Fails where we may not run any more, which is left to the administrator.
        if set
            .and_then(|()| sched_setaffinity(self.tracer, &only))
            .is_ok()
        {
            self.at = Some(processor);
        } else {
            self.leave();
        }
    }
}

/// The CPU on which we can wait for a thread: not where it would not let us
/// run, as one that the scheduler does not share out.
fn place(stat: &Stat) -> Option<usize> {
    let policy = i32::try_from(stat.policy?).ok()?;
    let shares = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE].contains(&policy);
    stat.processor.filter(|_| shares)
}
