use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd;

use crate::stat::Stat;

/// Has a thread of ours run on the CPU where another one runs.
///
/// Whoever has bound us to some CPUs (`taskset`) has it stay on them.
#[derive(Debug)]
pub(crate) struct Bound {
    thread: unistd::Pid,
    /// Where it may run; `None` if that is more than can be told.
    anywhere: Option<CpuSet>,
    /// Where it has to run now, if it has to.
    at: Option<usize>,
}

impl Bound {
    pub(crate) fn new(thread: unistd::Pid) -> Self {
        Self {
            thread,
            anywhere: sched_getaffinity(thread).ok(),
            at: None,
        }
    }

    /// The CPU on which it has to run now, if it has to.
    pub(crate) fn at(&self) -> Option<usize> {
        self.at
    }

    /// To where a thread is; to wherever the scheduler likes, if that cannot be told.
    pub(crate) fn follow(&mut self, thread: Option<&Stat>) {
        let Some(anywhere) = &self.anywhere else {
            return;
        };
        let place = thread.and_then(place);
        match place.filter(|at| anywhere.is_set(*at).unwrap_or(false)) {
            Some(processor) if self.at == Some(processor) => {}
            Some(processor) => self.go(processor),
            None => self.leave(),
        }
    }

    /// To wherever the scheduler likes.
    pub(crate) fn leave(&mut self) {
        self.heed_others();
        if let (Some(anywhere), Some(_)) = (&self.anywhere, self.at) {
            // Fails only if none of them is left to us.
            let _ = sched_setaffinity(self.thread, anywhere);
            self.at = None;
        }
    }

    fn go(&mut self, processor: usize) {
        self.heed_others();
        let may = |anywhere: &CpuSet| anywhere.is_set(processor) == Ok(true);
        if !self.anywhere.as_ref().is_some_and(may) {
            return self.leave();
        }
        // Fails where we may not run any more, which is left to the administrator.
        let set = only(processor).and_then(|only| sched_setaffinity(self.thread, &only));
        if set.is_ok() {
            self.at = Some(processor);
        } else {
            self.leave();
        }
    }

    /// If somebody else has bound the thread meanwhile, it may be there and nowhere else.
    fn heed_others(&mut self) {
        let now = sched_getaffinity(self.thread);
        if let (Some(at), Ok(now)) = (self.at, now)
            && only(at) != Ok(now)
        {
            self.anywhere = Some(now);
            self.at = None;
        }
    }
}

fn only(processor: usize) -> Result<CpuSet, Errno> {
    let mut only = CpuSet::new();
    only.set(processor).map(|()| only)
}

/// The CPU on which we can wait for a thread: not where it would not let us
/// run, as one that the scheduler does not share out.
fn place(stat: &Stat) -> Option<usize> {
    let policy = i32::try_from(stat.policy?).ok()?;
    let shares = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE].contains(&policy);
    stat.processor.filter(|_| shares)
}
