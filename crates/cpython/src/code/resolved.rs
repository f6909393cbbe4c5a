use std::time::Instant;

use super::Place;
use crate::frames::{CodeCounter, RawFrame, RawStack, TRUSTED};

/// A thread's stack in the source's terms, kept from one look at the thread to
/// the next, so that what has not changed is not resolved again.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Oldest first, as long as the places.
    pub(super) frames: Vec<RawFrame>,
    pub(super) places: Vec<Place>,
    pub(super) proof: Option<Proof>,
}

impl Resolved {
    /// Where each frame stands, oldest first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

/// Since when a code object is known to be the one that was decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    pub(super) codes: Option<CodeCounter>,
    pub(super) at: Instant,
}

/// How long a proof holds for a stack: by the count of code objects that came with it, or
/// by the time, which is asked once for all frames.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    Count(CodeCounter),
    Time(Instant),
}

impl Since {
    /// For a stack that was read now.
    pub(super) fn of(stack: &RawStack) -> Self {
        stack
            .codes
            .map_or_else(|| Self::Time(Instant::now()), Self::Count)
    }

    pub(super) fn counter(self) -> Option<CodeCounter> {
        match self {
            Self::Count(counter) => Some(counter),
            Self::Time(_) => None,
        }
    }
}

impl Proof {
    pub(super) fn holds(self, since: Since) -> bool {
        match since {
            Since::Count(codes) => self.codes == Some(codes),
            Since::Time(now) => now.saturating_duration_since(self.at) < TRUSTED,
        }
    }
}
