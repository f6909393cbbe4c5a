use std::time::{Duration, Instant};

use firefinch_cpython::Motion;
use firefinch_process::{AccessError, Question, Stopped, Stopper, Thread};
use firefinch_profile::{LossReason, Process, ProcessId, Profile, Sample};

use crate::clock::Tick;
use crate::deferred::Look;
use crate::lane::{Lanes, ThreadKey};
use crate::lost::Lost;
use crate::options::{Manner, Mode, Options};
use crate::stack::{Reading, Stack};
use crate::state::Activity;
use crate::stop::{NotStopped, motion, stop_running};
use crate::target::Target;
use crate::thread::TargetThread;
use crate::unproved::{self, Waiting};

/// One process of a recording: looked at at every tick, and what the profile
/// knows of it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) target: Target,
    pub(crate) lanes: Lanes,
    /// In the profile, once it has a sample.
    process: Option<ProcessId>,
    /// When its name was last asked for.
    named: Option<Duration>,
    /// The threads to sample at this tick.
    due: Vec<usize>,
    /// What was read of them, and is not in the profile yet.
    read: Vec<(Seen, Result<Reading, Lost>)>,
    stopper: Option<Stopper>,
    /// Ticks in a row at which the interpreter could not be read.
    failures: u32,
    /// Looks whose stacks wait to be believed.
    waiting: Waiting,
    /// When it was last seen to that the target is still what it was; `None`
    /// if that is to be done at the next tick.
    kept_house: Option<Duration>,
    /// At how many ticks it was there.
    pub(crate) looks: u64,
    /// The first thread that ran at this tick and was read, or the one with the lock.
    busy: Option<usize>,
}

/// Why a process could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// It has ended.
    Ended,
    /// It runs another program now, or its interpreter is not where it was.
    Replaced,
    /// Its interpreter could not be read this time.
    Unreadable,
}

/// How often it is seen to that the program is still the same, and who its
/// threads are: not at each tick where ticks are more frequent.
const HOUSEKEEPING: Duration = Duration::from_millis(2);

/// How often it is seen to that the name is still the same: who forks gives its
/// children theirs a moment later.
const NAMING: Duration = Duration::from_millis(200);

/// An interpreter that cannot be read for so many ticks is looked for anew: it
/// may have been mistaken for one while it was starting.
const PATIENT_TICKS: u32 = 5;

/// Between two looks at threads that all wait.
const PAUSE: Duration = Duration::from_millis(1);

impl Member {
    /// # Errors
    /// [`AccessError`] if its threads are to be stopped and may not be.
    pub(crate) fn new(target: Target, manner: Manner) -> Result<Self, AccessError> {
        let stopper = match manner {
            Manner::Stopped => Some(Stopper::new(target.process())?),
            Manner::Near | Manner::Apart => None,
        };
        Ok(Self {
            target,
            lanes: Lanes::default(),
            process: None,
            named: None,
            due: Vec::new(),
            read: Vec::new(),
            stopper,
            failures: 0,
            waiting: Waiting::default(),
            kept_house: None,
            looks: 0,
            busy: None,
        })
    }

    /// Hands over what belongs to `profile`, after which comes another one.
    pub(crate) fn leave(&mut self, profile: &mut Profile) {
        self.lanes.leave(profile);
        self.process = None;
    }

    /// The tick after this one comes at `moment`.
    pub(crate) fn expect(&mut self, moment: Instant) {
        self.target.expect(moment);
        if let Some(stopper) = &mut self.stopper {
            stopper.expect(moment);
        }
    }

    /// A thread that ran at the last tick, and whose stack is read without stopping it.
    pub(crate) fn busy_thread(&self) -> Option<&Thread> {
        let busy = self.busy.filter(|_| !self.target.is_native())?;
        self.target.os_thread(busy)
    }

    /// Whether threads need a lock to run Python, so that few run at once.
    pub(crate) fn has_locks(&self) -> bool {
        !self.target.is_native() && self.target.has_locks()
    }

    /// The thread that holds the GIL now, if its stack is read without stopping it.
    pub(crate) fn lock_holder(&mut self) -> Option<&Thread> {
        let holder = self.has_locks().then(|| self.target.lock_holder());
        self.target.os_thread(holder??)
    }

    /// Whether there is a sample of it.
    pub(crate) fn was_sampled(&self) -> bool {
        self.process.is_some()
    }

    /// The process has become another program, which the target knows already.
    pub(crate) fn begin_anew(&mut self, profile: &mut Profile) {
        self.waiting.end(profile);
        self.lanes.clear(profile);
        if let Some(process) = self.process {
            profile.rename_process(process, &name(&self.target));
        }
    }

    /// One look at every thread that is due.
    pub(crate) fn look(
        &mut self,
        options: &Options,
        tick: Tick,
        profile: &mut Profile,
    ) -> Result<(), Absence> {
        self.busy = None;
        if !self.keep_house(tick.time) {
            return Err(self.absence(profile));
        }
        self.looks += 1;
        self.follow_name(tick.time, profile);
        let question = options.question();
        if self.target.look(question) {
            self.expect_change();
        }
        self.lanes.follow(&self.target, profile);
        self.due.clear();
        match question {
            Question::WhoRuns => self.due.extend_from_slice(self.target.awake()),
            Question::WhatAllDo => self.due.extend(0..self.target.threads().len()),
        }
        if self.due.is_empty() {
            return Ok(());
        }
        let mut stopper = self.stopper.take();
        // Where stacks are native, each running thread is stopped by itself.
        let stopped = stopper
            .as_mut()
            .filter(|_| !self.target.is_native())
            .map(|stopper| stop_running(stopper, &self.target));
        // Who is wanted must be known before; else the stacks may tell for nothing.
        self.target.heed_gil(options.whom.gil);
        if options.whom.gil {
            self.target.lock_holders();
        } else if !self.target.stacks_tell_gil() {
            self.target.lock_holders_lately(tick.time);
        }
        let mut moment = Moment {
            options,
            time_ns: nanos(tick.time),
            weight_ns: nanos(tick.stands_for),
            stopped,
            profile,
        };
        for at in 0..self.due.len() {
            if let Some(index) = self.due.get(at) {
                self.read(*index, &mut moment);
            }
        }
        // What follows may ask the target's file system, which may be its own.
        moment.stopped = None;
        let mut reads = std::mem::take(&mut self.read);
        for (seen, read) in reads.drain(..) {
            self.sample(seen, read, &mut moment);
        }
        self.read = reads;
        drop(moment);
        self.stopper = stopper;
        self.settle(false, profile);
        Ok(())
    }

    /// Enters what has waited to be believed, and is by now.
    fn settle(&mut self, is_last: bool, profile: &mut Profile) {
        if self.waiting.is_empty() {
            return;
        }
        let Self {
            process,
            waiting,
            target,
            lanes,
            ..
        } = self;
        let mut enter = |target: &Target, profile: &mut Profile| {
            *process.get_or_insert_with(|| profile.add_process(entry(target)))
        };
        waiting.settle(is_last, target, lanes, &mut enter, profile);
    }

    /// Looks on at the threads that run, to learn the calls of what waits to be believed: no
    /// later tick does.
    pub(crate) fn learn(&mut self, patience: Duration, profile: &mut Profile) {
        let begun = Instant::now();
        self.lanes.flush(profile);
        self.settle(false, profile);
        while !self.waiting.is_empty() && begun.elapsed() < patience {
            if self.target.refresh().is_err() {
                return;
            }
            // One that has ended meanwhile cannot be read, and teaches nothing.
            let _ = self.target.look(Question::WhoRuns);
            let awake = self.target.awake().to_vec();
            if awake.is_empty() {
                std::thread::sleep(PAUSE);
            }
            for index in awake {
                // Whatever comes of it is no sample.
                let _ = self.target.read(index, Motion::Running);
            }
            self.settle(false, profile);
        }
    }

    /// Nothing more is looked at, but to tell what was seen.
    pub(crate) fn end(&mut self, profile: &mut Profile) {
        self.lanes.flush(profile);
        self.settle(true, profile);
        self.waiting.end(profile);
    }

    /// Sees to it that the list of threads is right, unless that was done a
    /// moment ago; whether the interpreter is there.
    fn keep_house(&mut self, time: Duration) -> bool {
        let age = self.kept_house.map(|then| time.saturating_sub(then));
        if age.is_some_and(|age| age < HOUSEKEEPING) {
            return true;
        }
        self.kept_house = None;
        if self.target.refresh().is_err() || self.target.image_gone() {
            return false;
        }
        self.kept_house = Some(time);
        self.failures = 0;
        true
    }

    /// Has the profile know the process by the name that it has now.
    fn follow_name(&mut self, time: Duration, profile: &mut Profile) {
        let Some(process) = self.process else {
            return;
        };
        let age = self.named.map(|then| time.saturating_sub(then));
        if age.is_some_and(|age| age < NAMING) {
            return;
        }
        self.named = Some(time);
        let name = name(&self.target);
        if !name.is_empty() && profile.process(process).name != name {
            profile.rename_process(process, &name);
        }
    }

    /// The interpreter cannot be read: the process has ended, or become
    /// another program, or is about to.
    fn absence(&mut self, profile: &mut Profile) -> Absence {
        if !self.target.process().is_alive() {
            return Absence::Ended;
        }
        profile.lose(LossReason::NotReady, 1);
        self.failures += 1;
        if !self.target.image_gone() && self.failures < PATIENT_TICKS {
            return Absence::Unreadable;
        }
        self.failures = 0;
        Absence::Replaced
    }

    /// A thread has ended, or could not be read, as one that has ended.
    fn expect_change(&mut self) {
        self.target.forget_threads();
        self.kept_house = None;
    }

    /// Whether a thread is to be sampled.
    fn wants(&mut self, index: usize, thread: Seen, moment: &mut Moment<'_>) -> bool {
        let whom = moment.options.whom;
        let is_there = thread.activity != Activity::Ended;
        // Until it is stopped for its stack a thread may have taken the lock or given it up.
        // The stack will say: to ask only the holder would miss who has just taken it.
        let may_hold = self.target.is_native() && thread.runs_python && thread.activity.is_active();
        let passes = is_there && (!whom.gil || thread.holds_gil || may_hold);
        match moment.options.mode {
            Mode::Wall => passes && (whom.idle || whom.gil || thread.activity.is_active()),
            Mode::Cpu => {
                let (Some(lane), Some(run_ns)) =
                    (self.lanes.lane(index), self.target.run_ns(index))
                else {
                    return false;
                };
                lane.cpu.used(run_ns);
                if !passes {
                    lane.forgo(moment.profile);
                }
                passes && (thread.activity.is_active() || lane.cpu.wants())
            }
        }
    }

    /// One look at the thread at `index`.
    fn read(&mut self, index: usize, moment: &mut Moment<'_>) {
        let Some(thread) = self.target.threads().get(index) else {
            return;
        };
        let seen = Seen::of(&self.target, index, thread);
        let motion = motion(moment.stopped.as_ref(), thread);
        if self.target.is_merged_elsewhere(index) || !self.wants(index, seen, moment) {
            return;
        }
        let runs = seen.activity.is_active() && self.target.os_thread(index).is_some();
        // Who runs Python has a stack that changes.
        if runs && (self.busy.is_none() || seen.holds_gil) {
            self.busy = Some(index);
        }
        match motion {
            Ok(motion) => self.read.push((seen, self.target.read(index, motion))),
            Err(NotStopped) => moment.profile.lose(LossReason::StopFailed, 1),
        }
    }

    /// Has a stack wait that is not believed yet.
    fn wait(&mut self, thread: Seen, moment: &mut Moment<'_>) {
        let index = thread.index;
        let stack = self.target.take_unproved(index);
        let key = self.target.threads().get(index).map(ThreadKey::of);
        let number = stack.zip(key).and_then(|(stack, key)| {
            let seen = unproved::Seen {
                time_ns: moment.time_ns,
                thread: key,
                activity: thread.activity,
                holds_gil: stack.stack().holds_gil.unwrap_or(thread.holds_gil),
            };
            self.waiting.wait(seen, stack)
        });
        match (number, self.lanes.lane(index)) {
            (Some(number), Some(lane)) => {
                let look = Look::Unproved(number, moment.weight_ns);
                lane.add(look, moment.options.mode, moment.profile);
                self.lanes.count_unproved();
            }
            _ => moment.profile.lose(LossReason::Torn, 1),
        }
    }

    /// Enters in the profile what was read of a thread.
    fn sample(&mut self, seen: Seen, read: Result<Reading, Lost>, moment: &mut Moment<'_>) {
        let profile = &mut *moment.profile;
        let is_native = self.target.is_native();
        let leaf = read.as_ref().ok().and_then(|reading| reading.leaf);
        let index = seen.index;
        let stack = read.map(|reading| self.target.stack(reading));
        let told = stack.as_ref().ok().and_then(Stack::holds_gil);
        let holds_gil = told.unwrap_or(seen.holds_gil);
        let is_wanted = !moment.options.whom.gil
            || match is_native {
                true => holds_gil,
                false => seen.holds_gil,
            };
        match stack {
            Ok(stack) if !is_wanted => {
                // The next one tells only what has changed since this one.
                self.lanes.stack(index, stack, profile);
                if let (Mode::Cpu, Some(lane)) = (moment.options.mode, self.lanes.lane(index)) {
                    lane.forgo(profile);
                }
            }
            Ok(stack) if stack.is_empty() => {
                if seen.activity.is_active() {
                    profile.lose(LossReason::NoFrames, 1);
                }
                self.lanes.stack(index, stack, profile);
            }
            Ok(stack) => {
                let stack = self.lanes.stack(index, stack, profile);
                let state = self.lanes.state(index, seen.activity, profile);
                let process = *self
                    .process
                    .get_or_insert_with(|| profile.add_process(entry(&self.target)));
                let thread = self.target.threads().get(index);
                let thread =
                    thread.and_then(|thread| self.lanes.thread(index, thread, process, profile));
                let (Some(thread), Some(stack)) = (thread, stack) else {
                    return;
                };
                let sample = Sample {
                    time_ns: moment.time_ns,
                    thread,
                    stack,
                    weight_ns: moment.weight_ns,
                    state,
                    holds_gil,
                };
                if let Some(lane) = self.lanes.lane(index) {
                    lane.add(Look::Sample(sample), moment.options.mode, profile);
                    if let Some(leaf) = leaf {
                        lane.shown(leaf, sample, profile);
                    }
                }
            }
            Err(lost) => match lost.waits_for() {
                Some(_) if !is_wanted => {}
                None if lost.is_unproved() => {
                    if is_wanted {
                        self.wait(seen, moment);
                    }
                }
                Some(leaf) => {
                    self.lanes.count_deferred();
                    if let Some(lane) = self.lanes.lane(index) {
                        let look = Look::Deferred(leaf, moment.weight_ns);
                        lane.add(look, moment.options.mode, profile);
                    }
                }
                None => {
                    if is_wanted {
                        profile.lose(lost.reason(), 1);
                    }
                    self.expect_change();
                }
            },
        }
    }
}

/// What all samples of a tick have in common.
#[derive(Debug)]
struct Moment<'a> {
    options: &'a Options,
    time_ns: u64,
    weight_ns: u64,
    stopped: Option<Stopped<'a>>,
    profile: &'a mut Profile,
}

/// A thread at this tick.
#[derive(Clone, Copy, Debug)]
struct Seen {
    index: usize,
    activity: Activity,
    holds_gil: bool,
    runs_python: bool,
}

impl Seen {
    fn of(target: &Target, index: usize, thread: &TargetThread) -> Self {
        Self {
            index,
            activity: thread.activity(),
            holds_gil: target.holds_lock(thread),
            runs_python: thread.python.is_some(),
        }
    }
}

fn entry(target: &Target) -> Process {
    Process {
        pid: target.process().pid().get().unsigned_abs(),
        name: name(target),
    }
}

/// What the system calls it; empty if it has just ended.
fn name(target: &Target) -> String {
    target.process().comm().unwrap_or_default()
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
