use nix::sched::sched_getcpu;
use nix::unistd;

use super::aside::Aside;
use super::known::KnownThreads;
use crate::bound::Bound;
use crate::{Activity, Process, Thread, Tid};

/// Has the tracer run where the thread runs that it is to stop.
///
/// On another CPU it interrupts that thread's and wakes it up again after the
/// stop, and each takes some 10 µs in a virtual machine; the thread's stack is
/// in the other cache. On the same one there is only a switch to the thread and
/// one back. At 1 kHz, with 16 KB of stack copied, a thread lost 3.2 % of its
/// time that way and 4.3 % to a tracer on another CPU. And while the tracer
/// runs there, the thread cannot begin to wait.
#[derive(Debug)]
pub(crate) struct Follower {
    bound: Bound,
    known: KnownThreads,
    /// Us.
    aside: Aside,
}

impl Follower {
    pub(crate) fn new(process: &Process, tracer: unistd::Pid) -> Self {
        Self {
            bound: Bound::new(tracer),
            known: KnownThreads::of(process),
            aside: Aside::default(),
        }
    }

    /// To where the thread is.
    pub(crate) fn follow(&mut self, tid: Tid) {
        let stat = self.known.ask(tid, Thread::stat);
        self.bound.follow(stat.as_ref().ok());
        self.aside.make_room(self.bound.at());
    }

    /// Whether the thread runs, or would if it had a CPU.
    pub(crate) fn runs(&mut self, tid: Tid) -> bool {
        let activity = self.known.ask(tid, Thread::activity);
        activity == Ok(Activity::Running)
    }

    /// Whether the tracer is where we are not, so that it can work while we do.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.bound.at().is_some() && self.bound.at() != sched_getcpu().ok()
    }

    /// To wherever the scheduler likes: nobody waits for a thread that may not
    /// get its CPU.
    pub(crate) fn leave(&mut self) {
        self.aside.come_back();
        self.bound.leave();
    }
}
