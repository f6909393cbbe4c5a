use std::num::NonZeroU32;
use std::ops::AddAssign;
use std::sync::Arc;

use firefinch_cpython::{CodeObject, Leaf, Place};
use firefinch_native::NameSource;
use firefinch_process::Tid;
use firefinch_profile::{
    Frame, FrameId, FrameKind, ProcessId, Profile, Sample, StackId, ThreadId, ThreadState,
};
use hashbrown::HashMap;

use crate::cpu_time::CpuTime;
use crate::deferred::{Deferred, Look, Number};
use crate::native::NativePlace;
use crate::options::Mode;
use crate::stack::{Stack, Standing, short_source};
use crate::state::Activity;
use crate::target::Target;
use crate::thread::TargetThread;

/// What the profile knows of each thread of a target, in the order of the
/// target's threads.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    /// The target's edition that they match.
    edition: Option<u64>,
    threads: HashMap<(Option<Tid>, u64), ThreadId>,
    frames: Frames,
    reuse: Reuse,
    /// What stacks weigh of threads that have ended, while they wait to be believed.
    weights: Vec<(Number, u64)>,
}

/// How much of the stacks was as before, and how much was new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Stacks that were entered in the profile.
    pub stacks: u64,
    /// … that were in every frame as at the last look at the thread.
    pub same_stacks: u64,
    /// Frames of all these stacks.
    pub frames: u64,
    /// … that were as at the last look.
    pub same_frames: u64,
    /// Looks that waited for a stack with the same newest frame, as their own was gone.
    pub deferred: u64,
    /// Stacks that waited for their calls to be seen once more.
    pub unproved: u64,
}

impl AddAssign for Reuse {
    fn add_assign(&mut self, other: Self) {
        self.stacks += other.stacks;
        self.same_stacks += other.same_stacks;
        self.frames += other.frames;
        self.same_frames += other.same_frames;
        self.deferred += other.deferred;
        self.unproved += other.unproved;
    }
}

/// One thread: where in the profile its samples go.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    serial: u64,
    /// Once it has a sample.
    thread: Option<ThreadId>,
    /// Each prefix of its last stack, the shortest first.
    prefixes: Vec<StackId>,
    state: Option<(Activity, ThreadState)>,
    pub(crate) cpu: CpuTime,
    deferred: Deferred,
}

impl Lane {
    /// Drops the processor time since the last look: this one is not wanted.
    pub(crate) fn forgo(&mut self, profile: &mut Profile) {
        self.cpu.forgo(&mut self.deferred, profile);
    }

    /// Enters what came of a look.
    pub(crate) fn add(&mut self, look: Look, mode: Mode, profile: &mut Profile) {
        match mode {
            Mode::Cpu => self.cpu.add(look, &mut self.deferred, profile),
            Mode::Wall => self.deferred.take(look, profile),
        }
    }

    /// Enters the looks that have waited for this sample, which ends like that.
    pub(crate) fn shown(&mut self, leaf: Leaf, sample: Sample, profile: &mut Profile) {
        self.deferred.shown(leaf, sample, profile);
    }

    /// Nothing more comes of the thread.
    fn end(&mut self, profile: &mut Profile) {
        self.cpu.flush(&mut self.deferred, profile);
        self.deferred.end(profile);
    }
}

impl Lanes {
    /// Forgets everything: the target runs another program now.
    pub(crate) fn clear(&mut self, profile: &mut Profile) {
        self.flush(profile);
        *self = Self::default();
    }

    /// Hands over what belongs to `profile`, after which comes another one that
    /// knows nothing of what this one knew.
    pub(crate) fn leave(&mut self, profile: &mut Profile) {
        for lane in &mut self.lanes {
            lane.cpu.flush(&mut lane.deferred, profile);
            lane.deferred.forget_samples();
            lane.thread = None;
            lane.prefixes.clear();
            lane.state = None;
        }
        self.threads.clear();
        self.frames = Frames::default();
    }

    /// Hands over the samples that wait for processor time, and counts as lost what waits
    /// for a stack: none comes any more.
    pub(crate) fn flush(&mut self, profile: &mut Profile) {
        for lane in &mut self.lanes {
            lane.end(profile);
        }
    }

    /// The thread at `index`.
    pub(crate) fn lane(&mut self, index: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(index)
    }

    /// Follows the target's list of threads and their names.
    pub(crate) fn follow(&mut self, target: &Target, profile: &mut Profile) {
        if self.edition == Some(target.edition()) {
            return;
        }
        self.edition = Some(target.edition());
        let old = std::mem::take(&mut self.lanes).into_iter();
        let mut old: HashMap<u64, Lane> = old.map(|lane| (lane.serial, lane)).collect();
        for thread in target.threads() {
            let lane = old.remove(&thread.serial());
            let lane = lane.unwrap_or_else(|| Lane {
                serial: thread.serial(),
                ..Lane::default()
            });
            let name = thread.display_name();
            if let Some(id) = lane.thread
                && !name.is_empty()
                && profile.thread(id).name != name
            {
                profile.rename_thread(id, name);
            }
            self.lanes.push(lane);
        }
        for (_, mut ended) in old {
            ended.end(profile);
            self.weights.extend(ended.deferred.weights());
        }
    }

    /// The thread at `index` in the profile, where it is entered with its
    /// first sample.
    pub(crate) fn thread(
        &mut self,
        index: usize,
        thread: &TargetThread,
        process: ProcessId,
        profile: &mut Profile,
    ) -> Option<ThreadId> {
        if self.lanes.get(index)?.thread.is_none() {
            let id = self.thread_of(&ThreadKey::of(thread), process, profile);
            profile.rename_thread(id, thread.display_name());
            self.lanes.get_mut(index)?.thread = Some(id);
        }
        self.lanes.get(index)?.thread
    }

    /// The same of one that may have ended.
    pub(crate) fn thread_of(
        &mut self,
        key: &ThreadKey,
        process: ProcessId,
        profile: &mut Profile,
    ) -> ThreadId {
        let enter = || {
            profile.add_thread(firefinch_profile::Thread {
                process,
                tid: key.tid.map_or(0, |tid| tid.get().unsigned_abs()),
                name: key.name.clone(),
            })
        };
        *self
            .threads
            .entry((key.tid, key.ident))
            .or_insert_with(enter)
    }

    /// A look waits for a stack.
    pub(crate) fn count_deferred(&mut self) {
        self.reuse.deferred += 1;
    }

    /// A stack waits to be believed.
    pub(crate) fn count_unproved(&mut self) {
        self.reuse.unproved += 1;
    }

    /// What stacks weigh that wait to be believed, each told once.
    pub(crate) fn weights(&mut self) -> Vec<(Number, u64)> {
        let mut weights = std::mem::take(&mut self.weights);
        for lane in &mut self.lanes {
            weights.extend(lane.deferred.weights());
        }
        weights
    }

    /// How much was as before.
    pub(crate) fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// The state as the profile has it.
    pub(crate) fn state(
        &mut self,
        index: usize,
        activity: Activity,
        profile: &mut Profile,
    ) -> ThreadState {
        let known = self.lanes.get_mut(index).map(|lane| &mut lane.state);
        match known {
            Some(Some((before, state))) if *before == activity => *state,
            Some(known) => known.insert((activity, state(activity, profile))).1,
            None => state(activity, profile),
        }
    }

    /// Enters a stack in the profile: only what has changed of it. `None` for
    /// one without frames.
    pub(crate) fn stack(
        &mut self,
        index: usize,
        mut stack: Stack<'_>,
        profile: &mut Profile,
    ) -> Option<StackId> {
        let prefixes = &mut self.lanes.get_mut(index)?.prefixes;
        let depth = stack.len();
        self.reuse.stacks += 1;
        self.reuse.same_stacks += u64::from(depth == stack.unchanged() && depth == prefixes.len());
        self.reuse.frames += depth as u64;
        self.reuse.same_frames += stack.unchanged() as u64;
        prefixes.truncate(stack.unchanged());
        for at in prefixes.len()..depth {
            let frame = self.frames.id(&mut stack, at, profile)?;
            prefixes.push(profile.intern_stack(prefixes.last().copied(), frame));
        }
        prefixes.last().copied()
    }

    /// The same of a stack that is not the last one of its thread.
    pub(crate) fn whole_stack(
        &mut self,
        mut stack: Stack<'_>,
        profile: &mut Profile,
    ) -> Option<StackId> {
        self.reuse.stacks += 1;
        self.reuse.frames += stack.len() as u64;
        let mut found = None;
        for at in 0..stack.len() {
            let frame = self.frames.id(&mut stack, at, profile)?;
            found = Some(profile.intern_stack(found, frame));
        }
        found
    }
}

/// What a thread is known by in the profile.
#[derive(Clone, Debug)]
pub(crate) struct ThreadKey {
    tid: Option<Tid>,
    ident: u64,
    name: String,
}

impl ThreadKey {
    pub(crate) fn of(thread: &TargetThread) -> Self {
        Self {
            tid: thread.tid,
            ident: thread.python.map_or(0, |python| python.ident),
            name: thread.display_name().to_owned(),
        }
    }
}

/// The profile's frame for each place seen so far. The places are held: as long
/// as they are, their addresses are no others'.
#[derive(Debug, Default)]
struct Frames {
    python: HashMap<(usize, Option<u32>), (FrameId, Arc<CodeObject>)>,
    native: HashMap<(usize, usize), (FrameId, Arc<NativePlace>)>,
}

/// Frames known before starting anew: a large program has some ten thousand in a
/// recording, and one that goes on making code has any number.
const MAX_FRAMES: usize = 1 << 16;

impl Frames {
    fn id(&mut self, stack: &mut Stack<'_>, at: usize, profile: &mut Profile) -> Option<FrameId> {
        match stack.get(at)? {
            Standing::Python(place) => {
                let key = (Arc::as_ptr(&place.code).addr(), place.line);
                if let Some((frame, _)) = self.python.get(&key) {
                    return Some(*frame);
                }
                let frame = enter(place, &stack.short_file(&place.code), profile);
                if self.python.len() >= MAX_FRAMES {
                    self.python.clear();
                }
                self.python.insert(key, (frame, Arc::clone(&place.code)));
                Some(frame)
            }
            Standing::Native(place, function) => {
                let key = (Arc::as_ptr(place).addr(), function);
                if let Some((frame, _)) = self.native.get(&key) {
                    return Some(*frame);
                }
                let frame = enter_native(place, function, profile)?;
                if self.native.len() >= MAX_FRAMES {
                    self.native.clear();
                }
                self.native.insert(key, (frame, Arc::clone(place)));
                Some(frame)
            }
        }
    }
}

fn enter(place: &Place, short_file: &str, profile: &mut Profile) -> FrameId {
    let code = &place.code;
    let frame = Frame {
        qualified_name: code
            .qualified_name
            .as_ref()
            .map(|name| profile.intern_string(name)),
        file: Some(profile.intern_string(&code.filename)),
        short_file: Some(profile.intern_string(short_file)),
        line: place.line.and_then(NonZeroU32::new),
        first_line: NonZeroU32::new(code.first_line),
        ..Frame::new(profile.intern_string(&code.name), FrameKind::Python)
    };
    profile.intern_frame(frame)
}

fn enter_native(place: &NativePlace, function: usize, profile: &mut Profile) -> Option<FrameId> {
    let frame = native_frame(place, function, profile)?;
    Some(profile.intern_frame(frame))
}

/// The frame of one of the functions of a place.
pub(crate) fn native_frame(
    place: &NativePlace,
    function: usize,
    profile: &mut Profile,
) -> Option<Frame> {
    let symbol = place.symbols.get(function)?;
    let short_file = symbol.file.as_deref().map(short_source);
    let kind = match symbol.source {
        NameSource::Kernel => FrameKind::Kernel,
        _ => FrameKind::Native,
    };
    Some(Frame {
        file: symbol.file.as_ref().map(|file| profile.intern_string(file)),
        short_file: short_file.map(|file| profile.intern_string(file)),
        line: symbol.line.and_then(NonZeroU32::new),
        module: Some(profile.intern_string(&place.module)),
        address: place.address,
        inlined: symbol.inlined,
        ..Frame::new(profile.intern_string(&symbol.name), kind)
    })
}

/// The state as a profile has it.
pub(crate) fn state(activity: Activity, profile: &mut Profile) -> ThreadState {
    match activity {
        Activity::Running => ThreadState::Running,
        Activity::WaitingForGil => ThreadState::WaitingForGil,
        Activity::Waiting(syscall) => {
            let name = syscall.name();
            ThreadState::Waiting(name.map(|name| profile.intern_string(name)))
        }
        Activity::Ended | Activity::Unknown => ThreadState::Unknown,
    }
}
