use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use firefinch_process::{AccessError, Process, wake_promptly};
use firefinch_profile::{Meta, Profile};

use crate::clock::{Clock, Tick};
use crate::member::{Absence, Member, nanos};
use crate::members::Members;
use crate::named_later::NamedLater;
use crate::native_summary::NativeSummary;
use crate::near::Nearness;
use crate::options::{Mode, Options};
use crate::past::{Past, Sums};
use crate::progress::Progress;
use crate::target::Target;
use crate::tree::{Census, Tree};

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

/// Looks at a target at every tick, or a process tree, and fills a profile.
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    describe: fn(&Process) -> String,
    profile: Profile,
    members: Members,
    /// Where the root's descendants come from, if they are recorded.
    tree: Option<Tree>,
    past: Past,
    /// How often a process became another program.
    execs: u32,
    first_sample: Option<Duration>,
    slowest_tick: Duration,
}

/// How long looking at things for the first time may keep from sampling.
const PREPARATION: Duration = Duration::from_millis(500);

/// After an exec a new interpreter takes tens of milliseconds to start; a
/// program that has none after this is not Python.
const EXEC_PATIENCE: Duration = Duration::from_secs(3);

/// How long may be looked on after the last tick to learn what was seen.
const LESSON: Duration = Duration::from_millis(200);

/// While it is waited for, whoever observes is asked so often.
const EXEC_SLICE: Duration = Duration::from_millis(100);

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
            members: Members {
                root: Member::new(target, options.manner)?,
                root_is_there: true,
                others: Vec::new(),
            },
            tree: None,
            past: Past::default(),
            options,
            describe,
            profile: Profile::new(meta),
            execs: 0,
            first_sample: None,
            slowest_tick: Duration::ZERO,
        })
    }

    /// Records the descendants of the process as well, those that there are and
    /// those that come. If [`name_again`](Self::name_again) is going to be asked for,
    /// some that have ended are kept for that.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn with_descendants(mut self, name_again: bool) -> io::Result<Self> {
        self.past.names_later = name_again;
        let tree = Tree::of(&self.members.root.target, self.options.manner)?;
        self.tree = Some(tree);
        Ok(self)
    }

    /// The first process of what is recorded, which may have ended.
    pub fn target(&self) -> &Target {
        &self.members.root.target
    }

    /// All processes that are recorded now.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.members.present().map(|member| &member.target)
    }

    /// What became of each process, if descendants are recorded.
    pub fn census(&self) -> Option<Census> {
        self.tree.as_ref().map(Tree::census)
    }

    /// When the first sample was taken, since the start of the recording.
    pub fn first_sample(&self) -> Option<Duration> {
        self.first_sample
    }

    /// What it has cost so far, and what it brought.
    pub fn sums(&self) -> Sums {
        let mut sums = self.past.sums;
        self.members.all().for_each(|member| sums.add(member));
        sums
    }

    /// What native stacks came to so far; `None` if there were none.
    pub fn native_summary(&self) -> Option<NativeSummary> {
        let members = self.members.all();
        let present = members.filter_map(|member| member.target.native_summary());
        NativeSummary::sum(present.chain(self.past.native.clone()))
    }

    /// The longest that one tick's work took.
    pub fn slowest_tick(&self) -> Duration {
        self.slowest_tick
    }

    /// How often a process became another program and was followed.
    pub fn execs(&self) -> u32 {
        self.execs
    }

    /// How many samples there are.
    pub fn sample_count(&self) -> u64 {
        self.profile.sample_count()
    }

    /// Takes what has been recorded since it was last [taken](Progress::take).
    pub fn take_profile(&mut self) -> Profile {
        self.profile.take()
    }

    /// Looks for names of functions once more, as debug information may have come
    /// to be where it is looked for.
    pub fn name_again(&mut self) -> NamedLater {
        let mut named = self.past.name_again();
        for member in self.members.all_mut() {
            named.extend(member.target.name_again());
        }
        named
    }

    /// Records until the end; `observe` is called after each tick and whenever
    /// a signal interrupts the wait.
    pub fn run(&mut self, observe: &mut dyn FnMut(&mut Progress<'_>) -> ControlFlow<()>) -> End {
        let interval = Duration::from_secs(1) / self.options.rate.get();
        wake_promptly();
        // Should that fail, the first tick finds out why.
        let _ = self.members.root.target.prepare(PREPARATION);
        let mut near = Nearness::new(self.options.is_near());
        let mut clock = Clock::start(interval, self.options.duration, self.options.jitter);
        let end = loop {
            let length = self.options.duration;
            let tick = near
                .scout(&clock, length, &mut self.members)
                .and_then(|()| clock.tick(length));
            let elapsed = tick.map_or_else(|| clock.elapsed(), |tick| tick.time);
            if let Some(tick) = tick {
                self.profile.tick();
                self.profile.miss(tick.missed);
                self.members.expect(clock.next_tick());
                match self.look(tick) {
                    Ok(()) => {}
                    Err(Absence::Replaced) => {
                        near.leave();
                        match self.follow_exec(&clock, observe) {
                            Ok(()) => {}
                            Err(end) => break end,
                        }
                    }
                    Err(Absence::Ended | Absence::Unreadable) => break End::Exited,
                }
                let took = clock.elapsed().saturating_sub(elapsed);
                near.follow(&self.members, clock.late(), took);
                self.slowest_tick = self.slowest_tick.max(took);
            } else if self.options.duration.is_some_and(|d| elapsed >= d) {
                break End::Duration;
            }
            let tick = tick.unwrap_or(Tick::none(elapsed));
            if self.show(tick, observe).is_break() {
                break End::Interrupted;
            }
        };
        // What is done now is no look, and may take longer.
        drop(near);
        self.profile.miss(clock.unused(self.options.duration));
        self.profile.meta.duration_ns = nanos(clock.elapsed());
        self.learn();
        for member in self.members.all_mut() {
            member.end(&mut self.profile);
        }
        end
    }

    /// Looks on for a moment, to tell what was seen by what there is now.
    fn learn(&mut self) {
        let until = Instant::now() + LESSON;
        let mut left = u32::try_from(self.members.all().count()).unwrap_or(u32::MAX);
        for member in self.members.all_mut() {
            let rest = until.saturating_duration_since(Instant::now());
            member.learn(rest / left.max(1), &mut self.profile);
            left = left.saturating_sub(1);
        }
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
            members: &mut self.members,
        });
        self.profile.meta.idle_threads = self.options.whom.idle;
        self.profile.meta.gil_only = self.options.whom.gil;
        flow
    }

    /// # Errors
    /// Why there is nobody any more.
    fn look(&mut self, tick: Tick) -> Result<(), Absence> {
        if self.members.root_is_there {
            let root = &mut self.members.root;
            let seen = root.look(&self.options, tick, &mut self.profile);
            self.note_sample(tick, self.members.root.was_sampled());
            match (seen, &self.tree) {
                (Ok(()) | Err(Absence::Unreadable), _) => {}
                (Err(absence), Some(_)) => self.part_with_root(absence),
                (Err(absence), None) => return Err(absence),
            }
        }
        match self.tree.is_some() {
            true => self.look_at_descendants(tick),
            false => Ok(()),
        }
    }

    fn note_sample(&mut self, tick: Tick, is_one: bool) {
        if is_one && self.first_sample.is_none() {
            self.first_sample = Some(tick.time);
        }
    }

    fn look_at_descendants(&mut self, tick: Tick) -> Result<(), Absence> {
        let Some(tree) = &mut self.tree else {
            return Ok(());
        };
        // Asked first: whoever lives no more may have been found before.
        let nobody =
            !self.members.root_is_there && self.members.others.is_empty() && !tree.may_have_more();
        for member in tree.newcomers(tick.time) {
            let process = member.target.process();
            if process.pid() == self.members.root.target.process().pid() {
                self.profile.meta.target = (self.describe)(process);
            }
            self.members.others.push(member);
        }
        if nobody && self.members.others.is_empty() {
            return Err(Absence::Ended);
        }
        let mut at = 0;
        while let Some(member) = self.members.others.get_mut(at) {
            let seen = member.look(&self.options, tick, &mut self.profile);
            let was_sampled = member.was_sampled();
            match seen {
                Ok(()) | Err(Absence::Unreadable) => at += 1,
                Err(absence) => {
                    let member = self.members.others.swap_remove(at);
                    self.part_with(member, absence);
                }
            }
            self.note_sample(tick, was_sampled);
        }
        Ok(())
    }

    /// The root stays where it is, for what is asked of it at the end.
    fn part_with_root(&mut self, absence: Absence) {
        self.members.root_is_there = false;
        self.members.root.end(&mut self.profile);
        self.tell_tree(&Arc::clone(self.members.root.target.process()), absence);
    }

    fn part_with(&mut self, mut member: Member, absence: Absence) {
        member.end(&mut self.profile);
        self.tell_tree(member.target.process(), absence);
        self.past.add(member);
    }

    fn tell_tree(&mut self, process: &Arc<Process>, absence: Absence) {
        let Some(tree) = &self.tree else {
            return;
        };
        match absence {
            Absence::Replaced => {
                self.execs += 1;
                tree.lose(process);
            }
            Absence::Ended | Absence::Unreadable => tree.has_ended(),
        }
    }

    /// Waits for the interpreter of the program that a process has become, until
    /// the recording is over or the observer says so.
    fn follow_exec(
        &mut self,
        clock: &Clock,
        observe: &mut dyn FnMut(&mut Progress<'_>) -> ControlFlow<()>,
    ) -> Result<(), End> {
        let begun = clock.elapsed();
        loop {
            let elapsed = clock.elapsed();
            let rest = self.options.duration.map(|d| d.saturating_sub(elapsed));
            let patience = EXEC_PATIENCE.saturating_sub(elapsed.saturating_sub(begun));
            let slice = EXEC_SLICE.min(patience).min(rest.unwrap_or(EXEC_SLICE));
            let member = &mut self.members.root;
            match member.target.reattach(slice) {
                Ok(()) => {
                    self.execs += 1;
                    member.begin_anew(&mut self.profile);
                    self.profile.meta.target = (self.describe)(member.target.process());
                    return Ok(());
                }
                Err(_) if !member.target.process().is_alive() => return Err(End::Exited),
                Err(_) if rest.is_some_and(|rest| rest.is_zero()) => return Err(End::Duration),
                Err(error) if patience.is_zero() || !error.may_pass() => {
                    return Err(End::Replaced);
                }
                Err(_) => {}
            }
            if self.show(Tick::none(clock.elapsed()), observe).is_break() {
                return Err(End::Interrupted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::process::{Child, Command, Stdio};

    use firefinch_process::Pid;

    use super::*;
    use crate::attach::Stacks;
    use crate::options::{Manner, Whom};

    fn cat() -> (Child, Recorder) {
        let mut command = Command::new("cat");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let options = Options {
            rate: NonZeroU32::new(1000).unwrap(),
            jitter: true,
            duration: None,
            mode: Mode::Wall,
            whom: Whom::default(),
            manner: Manner::Near,
        };
        let process = Arc::new(Process::open(pid).unwrap());
        let target = Target::attach_native(&process, Stacks::PythonOrNative).unwrap();
        let recorder = Recorder::new(target, |_| String::new(), options).unwrap();
        (child, recorder)
    }

    /// A recording of a tree ends when all that it samples have ended, and says that
    /// it may lack some, though who looks for others has failed.
    #[test]
    fn failed_finder() {
        let (mut child, mut recorder) = cat();
        recorder.tree = Some(Tree::broken());
        assert!(!recorder.census().unwrap().is_partial);
        let mut shown = 0;
        let end = recorder.run(&mut |_| {
            drop(child.stdin.take());
            shown += 1;
            match shown < 10_000 {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        assert_eq!(end, End::Exited);
        assert!(recorder.census().unwrap().is_partial);
        child.wait().unwrap();
    }
}
