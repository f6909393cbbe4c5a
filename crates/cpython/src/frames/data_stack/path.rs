//! What was passed on the way from the newest frame of a stack to the oldest.

use std::time::Instant;

use firefinch_memory::RemoteAddr;
use smallvec::SmallVec;

use super::frame::Decoded;
use super::trail::{Mark, Passed, Rest};
use crate::frames::RawFrame;
use crate::frames::edges::Depth;

/// Frames that lead from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Newest first.
    pub(super) frames: Vec<RawFrame>,
    /// A bit for each of the newest frames that had returned when it was copied,
    /// or whose caller had gone on.
    moved: u64,
    /// A bit for each of them that its caller has called in its own loop.
    inlined: u64,
    /// A bit for each of them that was alive in the copy for certain.
    alive: u64,
    /// A bit for each of those whose caller executed, and was copied before.
    later: u64,
    /// Those that C code called, newest first, and how far from its caller's loop theirs
    /// lies on the C stack.
    depths: SmallVec<[(RemoteAddr, Depth); 4]>,
}

impl Chain {
    /// Whether all frames were alive in the copy.
    pub(super) fn stands(&self) -> bool {
        self.moved == 0
    }

    /// Whether all but the newest were, and nobody had gone on further than to have been
    /// returned to from that.
    pub(super) fn callers_stand(&self) -> bool {
        self.moved & !bit(0) == 0
    }

    /// Whether the caller of this frame may not stand where it called from.
    pub(super) fn has_moved(&self, callee: usize) -> bool {
        self.moved & bit(callee) != 0
    }

    /// Whether this frame lived when it was copied.
    pub(super) fn is_alive(&self, index: usize) -> bool {
        index < LAST && self.alive & bit(index) != 0
    }

    /// Whether one was called later than its caller was copied, which had gone on from
    /// another call by then.
    pub(super) fn joins(&self) -> bool {
        self.later != 0
    }

    /// Whether this is such a frame.
    pub(super) fn is_later(&self, callee: usize) -> bool {
        callee < LAST && self.later & bit(callee) != 0
    }

    /// The newest frame may have returned when it was copied.
    pub(super) fn doubt_newest(&mut self) {
        self.moved |= bit(0);
    }

    /// Whether the caller of this frame has called it in its own loop.
    pub(super) fn is_inlined(&self, callee: usize) -> bool {
        self.inlined & bit(callee) != 0
    }

    /// How far the loop that C code began for this frame lies from that of its caller; `None`
    /// if that is not known.
    pub(super) fn depth(&self, callee: &RawFrame) -> Option<Depth> {
        let mut depths = self.depths.iter();
        let depth = depths.find(|(addr, _)| *addr == callee.addr);
        depth.map(|(_, depth)| *depth)
    }
}

/// The same while it is made.
#[derive(Debug)]
pub(super) struct Path {
    /// Newest first.
    pub(super) frames: Vec<RawFrame>,
    marks: SmallVec<[Mark; 64]>,
    passed: SmallVec<[Passed; 4]>,
    moved: u64,
    later: u64,
}

/// The last bit, which stands for all that are further from the newest.
const LAST: usize = 63;

fn bit(index: usize) -> u64 {
    1 << index.min(LAST)
}

impl Path {
    /// For about so many frames.
    pub(super) fn new(frames: usize) -> Self {
        Self {
            frames: Vec::with_capacity(frames + 4),
            marks: SmallVec::new(),
            passed: SmallVec::new(),
            moved: 0,
            later: 0,
        }
    }

    pub(super) fn push(&mut self, decoded: &Decoded, alive: bool) {
        if decoded.popped {
            self.moved |= bit(self.frames.len());
        }
        self.frames.push(decoded.frame);
        self.marks.push(Mark {
            executing: decoded.executing,
            inlined: false,
            alive,
        });
    }

    /// The frame that was pushed last had returned when it was copied, or its caller
    /// had gone on.
    pub(super) fn newest_moved(&mut self) {
        self.moved |= bit(self.frames.len().saturating_sub(1));
    }

    /// The caller of the frame that was pushed last executed when it was copied, before
    /// that frame was: if that lives, it was called later.
    pub(super) fn newest_is_later(&mut self) {
        if self.marks.last().is_some_and(|mark| mark.alive) {
            self.later |= bit(self.frames.len().saturating_sub(1));
        }
    }

    /// The caller of the frame that was pushed last has called it in its own loop.
    pub(super) fn newest_is_inlined(&mut self) {
        if let Some(mark) = self.marks.last_mut() {
            mark.inlined = true;
        }
    }

    /// Passes one of the interpreter's own frames, which was read then.
    pub(super) fn pass(&mut self, addr: RemoteAddr, at: Instant) {
        if let Some(callee) = self.frames.last() {
            let callee = callee.addr;
            self.passed.push(Passed { addr, callee, at });
        }
    }

    /// Ends it with what is known to lie below `callee`.
    pub(super) fn end_with(&mut self, callee: &Decoded, rest: Rest<'_>) {
        if callee.shares_loop() {
            self.newest_is_inlined();
        }
        self.frames.extend_from_slice(rest.frames);
        self.marks.extend_from_slice(rest.marks);
        self.passed.extend_from_slice(rest.passed);
    }

    /// What lies below the newest frames, so many of them.
    pub(super) fn below(&self, newest: usize) -> Rest<'_> {
        Rest {
            frames: self.frames.get(newest..).unwrap_or_default(),
            marks: self.marks.get(newest..).unwrap_or_default(),
            passed: &self.passed,
        }
    }

    pub(super) fn chain(self) -> Chain {
        let (mut inlined, mut alive) = (0, 0);
        for (index, mark) in self.marks.iter().enumerate() {
            inlined |= if mark.inlined { bit(index) } else { 0 };
            alive |= if mark.alive { bit(index) } else { 0 };
        }
        let loops = self.passed.iter().zip(self.passed.iter().skip(1));
        let depths = loops.map(|(inner, outer)| {
            let depth = outer.addr.get().wrapping_sub(inner.addr.get());
            (inner.callee, Depth(depth))
        });
        Chain {
            depths: depths.collect(),
            inlined,
            alive,
            frames: self.frames,
            moved: self.moved,
            later: self.later,
        }
    }
}
