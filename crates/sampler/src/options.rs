use std::num::NonZeroU32;
use std::time::Duration;

use firefinch_process::Question;

/// What to record, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ticks a second.
    pub rate: NonZeroU32,
    /// Each tick comes at a random moment of its interval, and else at its beginning, where
    /// a program that keeps the same beat is seen at one moment of it only.
    pub jitter: bool,
    /// How long; until interrupted if `None`.
    pub duration: Option<Duration>,
    /// What time samples stand for.
    pub mode: Mode,
    /// Which threads.
    pub whom: Whom,
    /// How the Python stacks of threads that run are read.
    pub manner: Manner,
}

/// How the Python stacks of threads that run are read. Those with native frames are read
/// while their thread is stopped alone, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// From the thread's own CPU, where it stands still meanwhile, and loses the time that a
    /// look takes. Of several that run one is read so, the others as they run. At higher
    /// rates than [`MAX_NEAR`] all are.
    Near,
    /// As they run, from another CPU if the scheduler has one.
    Apart,
    /// While all of them are stopped.
    Stopped,
}

/// The most looks a second that are taken from the CPU of the thread that is looked at.
pub const MAX_NEAR: u32 = 100;

/// What time samples stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The time that passed, for each thread that runs.
    Wall,
    /// The time on a processor, as the kernel counts it for each thread.
    Cpu,
}

/// Which threads are sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// Waiting threads too; in [`Mode::Cpu`] they have no time, so it makes no
    /// difference.
    pub idle: bool,
    /// Only the threads that hold an interpreter's lock.
    pub gil: bool,
}

impl Options {
    /// Whether to look at threads from the CPU that they run on.
    pub(crate) fn is_near(&self) -> bool {
        self.manner == Manner::Near && self.rate.get() <= MAX_NEAR
    }

    /// What has to be known of threads that wait.
    pub(crate) fn question(&self) -> Question {
        match self.whom.idle || self.whom.gil || self.mode == Mode::Cpu {
            true => Question::WhatAllDo,
            false => Question::WhoRuns,
        }
    }
}
