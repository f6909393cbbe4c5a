use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use firefinch_process::{AccessError, Process, Question, sleep_precisely};
use firefinch_profile::{Meta, Profile};

use crate::clock::{Clock, Tick};
use crate::lane::Reuse;
use crate::member::{Absence, Member, nanos};
use crate::named_later::NamedLater;
use crate::target::Target;

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

/// What to record, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ticks a second.
    pub rate: NonZeroU32,
    /// How long; until interrupted if `None`.
    pub duration: Option<Duration>,
    /// What time samples stand for.
    pub mode: Mode,
    /// Which threads.
    pub whom: Whom,
    /// Stop the threads for each read.
    pub blocking: bool,
}

impl Options {
    /// What has to be known of threads that wait.
    pub(crate) fn question(&self) -> Question {
        match self.whom.idle || self.whom.gil || self.mode == Mode::Cpu {
            true => Question::WhatAllDo,
            false => Question::WhoRuns,
        }
    }
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The time asked for has passed.
    Duration,
    /// The observer said so.
    Interrupted,
    /// The process has exited.
    Exited,
    /// The process runs another program now, which is not Python.
    Replaced,
}

/// Where a recording stands.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The tick just done.
    pub tick: Tick,
    /// Which threads are sampled from now on.
    pub whom: &'a mut Whom,
    profile: &'a mut Profile,
    root: &'a mut Member,
}

impl Progress<'_> {
    /// What is recorded.
    pub fn target(&self) -> &Target {
        &self.root.target
    }

    /// What has been recorded so far, since it was last [taken](Self::take).
    pub fn profile(&self) -> &Profile {
        self.profile
    }

    /// Takes what has been recorded; the recorder goes on with an empty profile.
    /// So one that never ends needs no more memory than what is recorded from one
    /// call to the next. Each call costs entering all stacks anew that are there
    /// then. In [`Mode::Cpu`] what a thread has used since its last sample goes to
    /// its next one alone.
    pub fn take(&mut self) -> Profile {
        self.root.leave(self.profile);
        let next = Profile::new(self.profile.meta.clone());
        std::mem::replace(self.profile, next)
    }
}

/// Looks at a target at every tick and fills a profile.
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    describe: fn(&Process) -> String,
    profile: Profile,
    root: Member,
    /// How often the process became another program.
    execs: u32,
    first_sample: Option<Duration>,
    slowest_tick: Duration,
}

/// How long looking at things for the first time may keep from sampling.
const PREPARATION: Duration = Duration::from_millis(500);

/// After an exec a new interpreter takes tens of milliseconds to start; a
/// program that has none after this is not Python.
const EXEC_PATIENCE: Duration = Duration::from_secs(3);

impl Recorder {
    /// A recorder for `target`. `describe` says what a process runs, in words
    /// for a title.
    ///
    /// # Errors
    /// [`AccessError`] if its threads are to be stopped and may not be.
    pub fn new(
        target: Target,
        describe: fn(&Process) -> String,
        options: Options,
    ) -> Result<Self, AccessError> {
        let mut meta = Meta::at_rate(options.rate, SystemTime::now());
        meta.target = describe(target.process());
        meta.idle_threads = options.whom.idle;
        meta.gil_only = options.whom.gil;
        meta.cpu_time = options.mode == Mode::Cpu;
        Ok(Self {
            root: Member::new(target, options.blocking)?,
            options,
            describe,
            profile: Profile::new(meta),
            execs: 0,
            first_sample: None,
            slowest_tick: Duration::ZERO,
        })
    }

    /// What is recorded.
    pub fn target(&self) -> &Target {
        &self.root.target
    }

    /// When the first sample was taken, since the start of the recording.
    pub fn first_sample(&self) -> Option<Duration> {
        self.first_sample
    }

    /// How often a target was there to be looked at at a tick.
    pub fn looks(&self) -> u64 {
        self.root.looks
    }

    /// The longest that one tick's work took.
    pub fn slowest_tick(&self) -> Duration {
        self.slowest_tick
    }

    /// How much of the stacks was as before.
    pub fn reuse(&self) -> Reuse {
        self.root.lanes.reuse()
    }

    /// How often the process became another program and was followed.
    pub fn execs(&self) -> u32 {
        self.execs
    }

    /// How many samples there are.
    pub fn sample_count(&self) -> u64 {
        self.profile.sample_count()
    }

    /// Takes what has been recorded since it was last [taken](Progress::take).
    pub fn take_profile(&mut self) -> Profile {
        let next = Profile::new(self.profile.meta.clone());
        std::mem::replace(&mut self.profile, next)
    }

    /// Looks for names of functions once more, as debug information may have come
    /// to be where it is looked for.
    pub fn name_again(&mut self) -> NamedLater {
        self.root.target.name_again()
    }

    /// Records until the end; `observe` is called after each tick and whenever
    /// a signal interrupts the wait.
    pub fn run(&mut self, observe: &mut dyn FnMut(&mut Progress<'_>) -> ControlFlow<()>) -> End {
        let interval = Duration::from_secs(1) / self.options.rate.get();
        sleep_precisely();
        // Should that fail, the first tick finds out why.
        let _ = self.root.target.prepare(PREPARATION);
        let mut clock = Clock::start(interval, self.options.duration);
        let end = loop {
            let tick = clock.tick(self.options.duration);
            let elapsed = clock.elapsed();
            if let Some(tick) = tick {
                self.profile.tick();
                self.profile.miss(tick.missed);
                if let Err(end) = self.look(tick) {
                    break end;
                }
                let took = clock.elapsed().saturating_sub(elapsed);
                self.slowest_tick = self.slowest_tick.max(took);
            } else if self.options.duration.is_some_and(|d| elapsed >= d) {
                break End::Duration;
            }
            let tick = tick.unwrap_or(Tick {
                time: elapsed,
                stands_for: Duration::ZERO,
                missed: 0,
            });
            if self.show(tick, observe).is_break() {
                break End::Interrupted;
            }
        };
        self.root.lanes.flush(&mut self.profile);
        self.profile.miss(clock.unused(self.options.duration));
        self.profile.meta.duration_ns = nanos(clock.elapsed());
        end
    }

    /// Lets the observer see where the recording stands, and say whom to sample.
    fn show(
        &mut self,
        tick: Tick,
        observe: &mut dyn FnMut(&mut Progress<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let flow = observe(&mut Progress {
            tick,
            whom: &mut self.options.whom,
            profile: &mut self.profile,
            root: &mut self.root,
        });
        self.profile.meta.idle_threads = self.options.whom.idle;
        self.profile.meta.gil_only = self.options.whom.gil;
        flow
    }

    fn look(&mut self, tick: Tick) -> Result<(), End> {
        match self.root.look(&self.options, tick, &mut self.profile) {
            Ok(()) | Err(Absence::Unreadable) => {}
            Err(Absence::Ended) => return Err(End::Exited),
            Err(Absence::Replaced) => self.follow_exec()?,
        }
        if self.first_sample.is_none() && self.root.was_sampled() {
            self.first_sample = Some(tick.time);
        }
        Ok(())
    }

    /// Waits for the interpreter of the program that a process has become.
    fn follow_exec(&mut self) -> Result<(), End> {
        let member = &mut self.root;
        match member.target.reattach(EXEC_PATIENCE) {
            Ok(()) => {
                self.execs += 1;
                member.begin_anew(&mut self.profile);
                self.profile.meta.target = (self.describe)(member.target.process());
                Ok(())
            }
            Err(_) if member.target.process().is_alive() => Err(End::Replaced),
            Err(_) => Err(End::Exited),
        }
    }
}
