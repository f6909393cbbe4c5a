use crate::schedstat::SchedText;
use crate::{AccessError, Activity, Cost, Thread};

/// What a look is to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which threads run now. One that waits may have run since it was last
    /// looked at, and wait for something else now.
    WhoRuns,
    /// What each thread is doing now.
    WhatAllDo,
}

/// What was seen of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What it was doing.
    At(Activity),
    /// It has ended.
    Gone,
    /// It may not be looked at.
    Unknown,
}

/// One thread of a [`Watch`](crate::Watch), looked at by its own figures: why equal ones
/// mean that it has not run is said there.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) thread: Thread,
    sched: SchedText,
    /// As of the last look; `None` where the kernel keeps no figures.
    pub(crate) run_ns: Option<u64>,
    pub(crate) look: Look,
    /// It waited after `sched` was read.
    pub(crate) waits: bool,
    /// Counts the looks at which it may have run.
    pub(crate) moves: u64,
}

impl Watched {
    pub(crate) fn new(thread: Thread) -> Self {
        Self {
            thread,
            sched: SchedText::EMPTY,
            run_ns: None,
            look: Look::Unknown,
            waits: false,
            moves: 0,
        }
    }

    /// Looks at its figures, and at what it does unless they prove that it
    /// still does that. Whether it may do something else now.
    pub(crate) fn look(&mut self, cost: &mut Cost, question: Question) -> bool {
        self.try_look(cost, question).unwrap_or_else(|error| {
            self.waits = false;
            self.moves += 1;
            self.look = match error.is_gone() {
                true => Look::Gone,
                false => Look::Unknown,
            };
            true
        })
    }

    fn try_look(&mut self, cost: &mut Cost, question: Question) -> Result<bool, AccessError> {
        if question == Question::WhoRuns && self.look == Look::At(Activity::Running) {
            // Most often it still does; its figures would prove nothing.
            cost.calls += 1;
            if self.thread.activity()? == Activity::Running {
                self.moves += 1;
                return Ok(true);
            }
        }
        cost.calls += 1;
        let sched = match self.thread.sched_text() {
            // Not gone but without figures: it has to do without them.
            Err(error) if error.is_gone() && self.thread.state().is_err() => return Err(error),
            sched => sched.ok(),
        };
        match sched {
            Some(sched) if self.waits && sched == self.sched => return Ok(false),
            Some(sched) => {
                self.run_ns = sched.parse().map(|stat| stat.run_ns);
                self.sched = sched;
            }
            None => self.run_ns = None,
        }
        self.moves += 1;
        self.waits = false;
        cost.calls += 1;
        let activity = self.thread.activity()?;
        self.look = Look::At(activity);
        // A kernel without figures writes zeros (fs/proc/base.c).
        self.waits =
            matches!(activity, Activity::Waiting(_)) && self.run_ns.is_some_and(|ns| ns > 0);
        Ok(true)
    }
}
