use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use firefinch_process::{
    AccessError, Process as ProcessHandle, Question, Stopped, Stopper, sleep_precisely,
};
use firefinch_profile::{LossReason, Meta, Process, ProcessId, Profile, Sample};

use crate::clock::{Clock, Tick};
use crate::lane::{Lanes, Reuse};
use crate::state::Activity;
use crate::stop::{motion, stop_running};
use crate::target::Target;
use crate::thread::TargetThread;

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
    /// What is recorded.
    pub target: &'a Target,
    /// Which threads are sampled from now on.
    pub whom: &'a mut Whom,
    profile: &'a mut Profile,
    lanes: &'a mut Lanes,
}

impl Progress<'_> {
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
        self.lanes.leave(self.profile);
        let next = self.profile.successor();
        std::mem::replace(self.profile, next)
    }
}

/// Looks at a target at every tick and fills a profile.
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    describe: fn(&ProcessHandle) -> String,
    profile: Profile,
    process: ProcessId,
    lanes: Lanes,
    /// The threads to sample at this tick.
    due: Vec<usize>,
    /// How often the process became another program.
    execs: u32,
    first_sample: Option<Duration>,
    /// Ticks at which the target was there.
    looks: u64,
    slowest_tick: Duration,
    stopper: Option<Stopper>,
    /// Ticks in a row at which the interpreter could not be read.
    failures: u32,
    /// When it was last seen to that the target is still what it was; `None`
    /// if that is to be done at the next tick.
    kept_house: Option<Duration>,
}

/// How often it is seen to that the program is still the same, and who its
/// threads are: not at each tick where ticks are more frequent.
const HOUSEKEEPING: Duration = Duration::from_millis(10);

/// How long looking at things for the first time may keep from sampling.
const PREPARATION: Duration = Duration::from_millis(500);

/// An interpreter that cannot be read for so many ticks is looked for anew: it
/// may have been mistaken for one while it was starting.
const PATIENT_TICKS: u32 = 5;
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
        target: &Target,
        describe: fn(&ProcessHandle) -> String,
        options: Options,
    ) -> Result<Self, AccessError> {
        let mut meta = Meta::at_rate(options.rate, SystemTime::now());
        meta.target = describe(target.process());
        meta.idle_threads = options.whom.idle;
        meta.gil_only = options.whom.gil;
        meta.cpu_time = options.mode == Mode::Cpu;
        let mut profile = Profile::new(meta);
        let process = profile.add_process(Process {
            pid: target.process().pid().get().unsigned_abs(),
            command: profile.meta.target.clone(),
            parent: None,
        });
        let stopper = match options.blocking {
            true => Some(Stopper::new(target.process())?),
            false => None,
        };
        Ok(Self {
            stopper,
            failures: 0,
            options,
            describe,
            profile,
            process,
            lanes: Lanes::default(),
            due: Vec::new(),
            kept_house: None,
            execs: 0,
            first_sample: None,
            looks: 0,
            slowest_tick: Duration::ZERO,
        })
    }

    /// When the first sample was taken, since the start of the recording.
    pub fn first_sample(&self) -> Option<Duration> {
        self.first_sample
    }

    /// At how many ticks the target was there to be looked at.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// The longest that one tick's work took.
    pub fn slowest_tick(&self) -> Duration {
        self.slowest_tick
    }

    /// How much of the stacks was as before.
    pub fn reuse(&self) -> Reuse {
        self.lanes.reuse()
    }

    /// How often the process became another program and was followed.
    pub fn execs(&self) -> u32 {
        self.execs
    }

    /// How many samples there are.
    pub fn sample_count(&self) -> u64 {
        self.profile.sample_count()
    }

    /// What has been recorded since it was last [taken](Progress::take).
    pub fn into_profile(self) -> Profile {
        self.profile
    }

    /// Records until the end; `observe` is called after each tick and whenever
    /// a signal interrupts the wait.
    pub fn run(
        &mut self,
        target: &mut Target,
        observe: &mut dyn FnMut(&mut Progress<'_>) -> ControlFlow<()>,
    ) -> End {
        let interval = Duration::from_secs(1) / self.options.rate.get();
        sleep_precisely();
        // Should that fail, the first tick finds out why.
        let _ = target.prepare(PREPARATION);
        let mut clock = Clock::start(interval, self.options.duration);
        let end = loop {
            let tick = clock.tick(self.options.duration);
            let elapsed = clock.elapsed();
            if let Some(tick) = tick {
                self.profile.tick();
                self.profile.miss(tick.missed);
                if let Err(end) = self.look(target, tick) {
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
            if self.show(target, tick, observe).is_break() {
                break End::Interrupted;
            }
        };
        self.lanes.flush(&mut self.profile);
        self.profile.miss(clock.unused(self.options.duration));
        self.profile.meta.duration_ns = nanos(clock.elapsed());
        end
    }

    /// Lets the observer see where the recording stands, and say whom to sample.
    fn show(
        &mut self,
        target: &Target,
        tick: Tick,
        observe: &mut dyn FnMut(&mut Progress<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let flow = observe(&mut Progress {
            tick,
            target,
            whom: &mut self.options.whom,
            profile: &mut self.profile,
            lanes: &mut self.lanes,
        });
        self.profile.meta.idle_threads = self.options.whom.idle;
        self.profile.meta.gil_only = self.options.whom.gil;
        flow
    }

    /// What has to be known of threads that wait.
    fn question(&self) -> Question {
        let Options { mode, whom, .. } = &self.options;
        match whom.idle || whom.gil || *mode == Mode::Cpu {
            true => Question::WhatAllDo,
            false => Question::WhoRuns,
        }
    }

    /// One look at every thread that is due.
    fn look(&mut self, target: &mut Target, tick: Tick) -> Result<(), End> {
        if !self.keep_house(target, tick.time) {
            return self.after_loss(target);
        }
        self.looks += 1;
        let question = self.question();
        if target.look(question) {
            self.expect_change(target);
        }
        self.lanes.follow(target, &mut self.profile);
        self.due.clear();
        match question {
            Question::WhoRuns => self.due.extend_from_slice(target.awake()),
            Question::WhatAllDo => self.due.extend(0..target.threads().len()),
        }
        if self.due.is_empty() {
            return Ok(());
        }
        let mut stopper = self.stopper.take();
        // Where stacks are native, each running thread is stopped by itself.
        let stopped = stopper
            .as_mut()
            .filter(|_| !target.is_native())
            .map(|stopper| stop_running(stopper, target));
        // Who is wanted must be known before; else the stacks may tell for nothing.
        if self.options.whom.gil || !target.stacks_tell_gil() {
            target.lock_holders();
        }
        let moment = Moment {
            time: tick.time,
            time_ns: nanos(tick.time),
            weight_ns: nanos(tick.stands_for),
            stopped,
        };
        for at in 0..self.due.len() {
            if let Some(index) = self.due.get(at) {
                self.sample(target, *index, &moment);
            }
        }
        drop(moment);
        self.stopper = stopper;
        Ok(())
    }

    /// Sees to it that the list of threads is right, unless that was done a
    /// moment ago; whether the interpreter is there.
    fn keep_house(&mut self, target: &mut Target, time: Duration) -> bool {
        let age = self.kept_house.map(|then| time.saturating_sub(then));
        if age.is_some_and(|age| age < HOUSEKEEPING) {
            return true;
        }
        self.kept_house = None;
        if target.refresh().is_err() || target.image_gone() {
            return false;
        }
        self.kept_house = Some(time);
        self.failures = 0;
        true
    }

    /// A thread has ended, or could not be read, as one that has ended.
    fn expect_change(&mut self, target: &mut Target) {
        target.forget_threads();
        self.kept_house = None;
    }

    /// Whether a thread is to be sampled.
    fn wants(&mut self, target: &Target, index: usize, thread: &TargetThread) -> bool {
        let activity = thread.activity();
        let is_there = activity != Activity::Ended;
        let passes = is_there && (!self.options.whom.gil || target.holds_lock(thread));
        match self.options.mode {
            Mode::Wall => {
                passes && (self.options.whom.idle || self.options.whom.gil || activity.is_active())
            }
            Mode::Cpu => {
                let (Some(cpu), Some(run_ns)) = (self.lanes.cpu(index), target.run_ns(index))
                else {
                    return false;
                };
                cpu.used(run_ns);
                if !passes {
                    cpu.forgo(&mut self.profile);
                }
                passes && (activity.is_active() || cpu.wants())
            }
        }
    }

    /// One look at the thread at `index`.
    fn sample(&mut self, target: &mut Target, index: usize, moment: &Moment<'_>) {
        let Some(thread) = target.threads().get(index) else {
            return;
        };
        let activity = thread.activity();
        let holds_gil = target.holds_lock(thread);
        if target.is_merged_elsewhere(index) || !self.wants(target, index, thread) {
            return;
        }
        let Ok(motion) = motion(moment.stopped.as_ref(), thread) else {
            self.profile.lose(LossReason::StopFailed, 1);
            return;
        };
        let profile = &mut self.profile;
        match target.stack(index, motion) {
            Ok(stack) if stack.is_empty() => {
                if activity.is_active() {
                    profile.lose(LossReason::NoFrames, 1);
                }
                self.lanes.stack(index, stack, profile);
            }
            Ok(stack) => {
                let holds_gil = stack.holds_gil().unwrap_or(holds_gil);
                let stack = self.lanes.stack(index, stack, profile);
                let state = self.lanes.state(index, activity, profile);
                let thread = target.threads().get(index);
                let thread = thread
                    .and_then(|thread| self.lanes.thread(index, thread, self.process, profile));
                let (Some(thread), Some(stack)) = (thread, stack) else {
                    return;
                };
                self.first_sample.get_or_insert(moment.time);
                let sample = Sample {
                    time_ns: moment.time_ns,
                    thread,
                    stack,
                    weight_ns: moment.weight_ns,
                    state,
                    holds_gil,
                };
                match (self.options.mode, self.lanes.cpu(index)) {
                    (Mode::Cpu, Some(cpu)) => cpu.add(sample, profile),
                    _ => profile.add_sample(sample),
                }
            }
            Err(lost) => {
                profile.lose(lost.reason(), 1);
                self.expect_change(target);
            }
        }
    }

    /// The interpreter cannot be read: the process has ended, or become
    /// another program, or is about to.
    fn after_loss(&mut self, target: &mut Target) -> Result<(), End> {
        if !target.process().is_alive() {
            return Err(End::Exited);
        }
        self.profile.lose(LossReason::NotReady, 1);
        self.failures += 1;
        if !target.image_gone() && self.failures < PATIENT_TICKS {
            return Ok(());
        }
        self.failures = 0;
        match target.reattach(EXEC_PATIENCE) {
            Ok(()) => {
                self.execs += 1;
                self.lanes.clear(&mut self.profile);
                let command = (self.describe)(target.process());
                self.profile.set_command(self.process, &command);
                self.profile.meta.target = command;
                Ok(())
            }
            Err(_) if target.process().is_alive() => Err(End::Replaced),
            Err(_) => Err(End::Exited),
        }
    }
}

/// What all samples of a tick have in common.
#[derive(Debug)]
struct Moment<'a> {
    time: Duration,
    time_ns: u64,
    weight_ns: u64,
    stopped: Option<Stopped<'a>>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
