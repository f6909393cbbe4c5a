use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use firefinch_process::{AccessError, Stopper, Tid};
use firefinch_profile::{
    FrameKind, LossReason, Meta, Process, ProcessId, Profile, Sample, StackId, ThreadId,
    ThreadState,
};

use crate::clock::{Clock, Tick};
use crate::state::Activity;
use crate::stop::{motion, stop_running};
use crate::target::{Frame, Target};

/// What to record, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ticks a second.
    pub rate: NonZeroU32,
    /// How long; until interrupted if `None`.
    pub duration: Option<Duration>,
    /// Waiting threads too.
    pub idle: bool,
    /// Only the threads that hold an interpreter's lock.
    pub gil: bool,
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
    /// What has been recorded so far.
    pub profile: &'a Profile,
}

/// Looks at a target at every tick and fills a profile.
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    profile: Profile,
    process: ProcessId,
    threads: HashMap<(Option<Tid>, u64), ThreadId>,
    /// How often the process became another program.
    execs: u32,
    first_sample: Option<Duration>,
    slowest_tick: Duration,
    stopper: Option<Stopper>,
    /// Ticks in a row at which the interpreter could not be read.
    failures: u32,
}

/// An interpreter that cannot be read for so many ticks is looked for anew: it
/// may have been mistaken for one while it was starting.
const PATIENT_TICKS: u32 = 5;
/// After an exec a new interpreter takes tens of milliseconds to start; a
/// program that has none after this is not Python.
const EXEC_PATIENCE: Duration = Duration::from_secs(3);

impl Recorder {
    /// A recorder for `target`, described by `command`.
    ///
    /// # Errors
    /// [`AccessError`] if its threads are to be stopped and may not be.
    pub fn new(target: &Target, command: &str, options: Options) -> Result<Self, AccessError> {
        let mut meta = Meta::at_rate(options.rate, SystemTime::now());
        meta.target = command.to_owned();
        meta.idle_threads = options.idle;
        meta.gil_only = options.gil;
        let mut profile = Profile::new(meta);
        let process = profile.add_process(process_entry(target, command));
        let stopper = match options.blocking {
            true => Some(Stopper::new(target.process())?),
            false => None,
        };
        Ok(Self {
            stopper,
            failures: 0,
            options,
            profile,
            process,
            threads: HashMap::new(),
            execs: 0,
            first_sample: None,
            slowest_tick: Duration::ZERO,
        })
    }

    /// When the first sample was taken, since the start of the recording.
    pub fn first_sample(&self) -> Option<Duration> {
        self.first_sample
    }

    /// The longest that one tick's work took.
    pub fn slowest_tick(&self) -> Duration {
        self.slowest_tick
    }

    /// How often the process became another program and was followed.
    pub fn execs(&self) -> u32 {
        self.execs
    }

    /// What has been recorded.
    pub fn into_profile(self) -> Profile {
        self.profile
    }

    /// Records until the end; `observe` is called after each tick and whenever
    /// a signal interrupts the wait.
    pub fn run(
        &mut self,
        target: &mut Target,
        observe: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> End {
        let interval = Duration::from_secs(1) / self.options.rate.get();
        let mut clock = Clock::start(interval);
        let end = loop {
            let tick = clock.tick(self.options.duration);
            let elapsed = clock.elapsed();
            if let Some(tick) = tick {
                self.profile.tick();
                self.profile.miss(tick.missed);
                // The first tick stands for no time passed but is a sample all the same.
                let weight = if tick.passed.is_zero() {
                    interval
                } else {
                    tick.passed
                };
                if let Err(end) = self.look(target, tick, weight) {
                    break end;
                }
                let took = clock.elapsed().saturating_sub(elapsed);
                self.slowest_tick = self.slowest_tick.max(took);
            } else if self.options.duration.is_some_and(|d| elapsed >= d) {
                break End::Duration;
            }
            let tick = tick.unwrap_or(Tick {
                time: elapsed,
                passed: Duration::ZERO,
                missed: 0,
            });
            let profile = &self.profile;
            if observe(&Progress { tick, profile }).is_break() {
                break End::Interrupted;
            }
        };
        self.profile.miss(clock.unused(self.options.duration));
        self.profile.meta.duration_ns = nanos(clock.elapsed());
        end
    }

    /// One look at every thread that is due.
    fn look(&mut self, target: &mut Target, tick: Tick, weight: Duration) -> Result<(), End> {
        if target.refresh().is_err() || target.image_gone() {
            return self.after_loss(target);
        }
        self.failures = 0;
        let activities = target.activities();
        let mut stopper = self.stopper.take();
        let stopped = stopper
            .as_mut()
            .map(|stopper| stop_running(stopper, target, &activities));
        let holders = target.lock_holders();
        let mut gone = false;
        for (index, activity) in activities.into_iter().enumerate() {
            let Some(thread) = target.threads().get(index) else {
                break;
            };
            let holds_gil = holders.contains(&thread.python.state);
            let wanted = if self.options.gil {
                holds_gil
            } else {
                self.options.idle || activity.is_active()
            };
            if !wanted {
                continue;
            }
            let Ok(motion) = motion(stopped.as_ref(), thread, activity) else {
                self.profile.lose(LossReason::StopFailed, 1);
                continue;
            };
            match target.stack(index, motion) {
                Ok(frames) if frames.is_empty() => {
                    if activity.is_active() {
                        self.profile.lose(LossReason::NoFrames, 1);
                    }
                }
                Ok(frames) => {
                    let stack = self.intern(&frames);
                    let (thread, state) = (self.thread(target, index), self.state(activity));
                    if let Some(stack) = stack {
                        self.first_sample.get_or_insert(tick.time);
                        self.profile.add_sample(Sample {
                            time_ns: nanos(tick.time),
                            thread,
                            stack,
                            weight_ns: nanos(weight),
                            state,
                            holds_gil,
                        });
                    }
                }
                Err(lost) => {
                    self.profile.lose(lost.reason(), 1);
                    gone = true;
                }
            }
        }
        drop(stopped);
        self.stopper = stopper;
        if gone {
            // A thread that could not be read may have ended.
            target.forget_threads();
        }
        Ok(())
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
                self.threads.clear();
                Ok(())
            }
            Err(_) if target.process().is_alive() => Err(End::Replaced),
            Err(_) => Err(End::Exited),
        }
    }

    fn state(&mut self, activity: Activity) -> ThreadState {
        match activity {
            Activity::Running => ThreadState::OnCpu,
            Activity::WaitingForGil => ThreadState::WaitingForGil,
            Activity::Waiting(syscall) => {
                let name = syscall.name();
                ThreadState::Waiting(name.map(|name| self.profile.intern_string(name)))
            }
            Activity::Unknown => ThreadState::Unknown,
        }
    }

    fn thread(&mut self, target: &Target, index: usize) -> ThreadId {
        let Some(thread) = target.threads().get(index) else {
            unreachable!("the index comes from the same list")
        };
        let name = thread.display_name();
        let key = (thread.tid, thread.python.ident);
        if let Some(known) = self.threads.get(&key) {
            let known = *known;
            if self.profile.thread(known).name != name && !name.is_empty() {
                self.profile.rename_thread(known, name);
            }
            return known;
        }
        let id = self.profile.add_thread(firefinch_profile::Thread {
            process: self.process,
            tid: thread.tid.map_or(0, |tid| tid.get().unsigned_abs()),
            name: name.to_owned(),
        });
        self.threads.insert(key, id);
        id
    }

    fn intern(&mut self, frames: &[Frame]) -> Option<StackId> {
        let mut stack = None;
        for frame in frames.iter().rev() {
            let code = &frame.code;
            let name = self.profile.intern_string(&code.name);
            let qualified_name = code
                .qualified_name
                .as_ref()
                .map(|name| self.profile.intern_string(name));
            let file = Some(self.profile.intern_string(&code.filename));
            let short_file = Some(self.profile.intern_string(&frame.short_file));
            let frame = self.profile.intern_frame(firefinch_profile::Frame {
                name,
                qualified_name,
                file,
                short_file,
                line: frame.line.and_then(NonZeroU32::new),
                first_line: NonZeroU32::new(code.first_line),
                kind: FrameKind::Python,
            });
            stack = Some(self.profile.intern_stack(stack, frame));
        }
        stack
    }
}

fn process_entry(target: &Target, command: &str) -> Process {
    Process {
        pid: target.process().pid().get().unsigned_abs(),
        command: command.to_owned(),
        parent: None,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
