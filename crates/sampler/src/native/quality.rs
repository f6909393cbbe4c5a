use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use firefinch_memory::RemoteAddr;
use firefinch_native::{Origin, Outcome, Status, Truncation, Via};

use super::NativeFrame;

/// How good native stacks were, for a summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Stacks that were unwound.
    pub stacks: u64,
    /// … to the thread's first function.
    pub rooted: u64,
    /// … of these by nothing but what the modules say of their frames.
    pub certain: u64,
    /// … not to the root, and why.
    pub truncated: BTreeMap<Cut, u64>,
    /// … with a frame found by frame pointer, as there is no unwind information.
    pub by_frame_pointer: u64,
    /// … with a frame found by the code of its callee, for the same reason.
    pub by_code: u64,
    /// … with a frame that was looked for on the stack.
    pub by_search: u64,
    /// All their frames.
    pub frames: u64,
    /// … that have no name.
    pub unnamed: u64,
    /// What was missing, by module.
    pub modules: BTreeMap<Origin, Missing>,
}

/// What was missing of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Its name for people.
    pub name: Arc<str>,
    /// Frames without a name.
    pub unnamed: u64,
    /// Frames that say nothing of their caller.
    pub no_unwind_info: u64,
}

/// Why a stack ended before its root, without the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// There is more of the stack than is copied.
    TooLarge,
    /// Memory could not be read.
    Memory,
    /// A module has no unwind information, and no frame pointer to follow.
    NoUnwindInfo,
    /// A module's unwind information is damaged.
    BadUnwindInfo,
    /// A register is needed that is not known without a stop.
    UnknownRegister,
    /// What was found is no stack.
    Nonsense,
    /// There are too many frames.
    TooDeep,
}

impl Quality {
    /// Counts a stack. `end` is where its copy ended.
    pub(super) fn count(&mut self, frames: &[NativeFrame], outcome: &Outcome, end: RemoteAddr) {
        self.stacks += 1;
        self.frames += frames.len() as u64;
        match outcome.status {
            Status::Rooted => self.rooted += 1,
            Status::Truncated(reason) => {
                *self.truncated.entry(Cut::of(reason, end)).or_default() += 1;
            }
        }
        self.certain += u64::from(outcome.is_certain());
        self.by_frame_pointer += u64::from(outcome.by_frame_pointer > 0);
        self.by_code += u64::from(outcome.by_code > 0);
        self.by_search += u64::from(outcome.by_search > 0);
        for frame in frames.iter().filter(|frame| frame.place.is_unnamed()) {
            self.unnamed += 1;
            if let Some(missing) = self.missing(frame) {
                missing.unnamed += 1;
            }
        }
        for pair in frames.windows(2) {
            if let [callee, caller] = pair
                && is_inferred(callee, caller)
                && let Some(missing) = self.missing(callee)
            {
                missing.no_unwind_info += 1;
            }
        }
        if let (Status::Truncated(Truncation::NoUnwindInfo(_)), Some(last)) =
            (outcome.status, frames.last())
            && let Some(missing) = self.missing(last)
        {
            missing.no_unwind_info += 1;
        }
    }

    fn missing(&mut self, frame: &NativeFrame) -> Option<&mut Missing> {
        let origin = frame.place.origin.clone()?;
        let missing = self.modules.entry(origin).or_default();
        if missing.name.is_empty() {
            missing.name = Arc::clone(&frame.place.module);
        }
        Some(missing)
    }
}

/// Whether the caller was found for want of anything that the callee's module
/// says. Code that was made at run time has no module to say it: that it can be
/// followed is all that may be wished for.
fn is_inferred(callee: &NativeFrame, caller: &NativeFrame) -> bool {
    match caller.via {
        Via::FramePointer => true,
        Via::Code => callee.place.origin != Some(Origin::Anonymous),
        _ => false,
    }
}

impl AddAssign<&Self> for Quality {
    /// Takes in what was counted elsewhere.
    fn add_assign(&mut self, other: &Self) {
        self.stacks += other.stacks;
        self.rooted += other.rooted;
        self.certain += other.certain;
        for (cut, count) in &other.truncated {
            *self.truncated.entry(*cut).or_default() += count;
        }
        self.by_frame_pointer += other.by_frame_pointer;
        self.by_code += other.by_code;
        self.by_search += other.by_search;
        self.frames += other.frames;
        self.unnamed += other.unnamed;
        for (origin, theirs) in &other.modules {
            let ours = self.modules.entry(origin.clone()).or_default();
            ours.name.clone_from(&theirs.name);
            ours.unnamed += theirs.unnamed;
            ours.no_unwind_info += theirs.no_unwind_info;
        }
    }
}

impl Cut {
    fn of(reason: Truncation, end: RemoteAddr) -> Self {
        match reason {
            Truncation::MemoryMissing(addr) if addr.offset(8) > end => Self::TooLarge,
            Truncation::MemoryMissing(_) => Self::Memory,
            Truncation::NoUnwindInfo(_) => Self::NoUnwindInfo,
            Truncation::BadUnwindInfo(_) => Self::BadUnwindInfo,
            Truncation::UnknownRegister(_) => Self::UnknownRegister,
            Truncation::TooManyReads | Truncation::CfaDidNotGrow | Truncation::NotCode(_) => {
                Self::Nonsense
            }
            Truncation::TooDeep => Self::TooDeep,
        }
    }
}
