use std::time::Instant;

use super::Place;
use crate::frames::{CodeCounter, RawFrame, TRUSTED};

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

impl Proof {
    /// Whether it holds for a stack that was read now.
    pub(super) fn holds(self, codes: Option<CodeCounter>) -> bool {
        match codes {
            Some(codes) => self.codes == Some(codes),
            None => self.at.elapsed() < TRUSTED,
        }
    }
}
