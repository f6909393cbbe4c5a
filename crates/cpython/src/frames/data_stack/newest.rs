//! Which frame is the newest, by its marks of life.
//!
//! - To 3.13 `stacktop` is −1 in a frame that executes
//!   (`_PyFrame_GetStackPointer`, `Include/internal/pycore_frame.h`), and in
//!   one that called C code, which may have begun a loop of its own above it;
//!   the height of its stack in one that waits for what it called, and 0 in
//!   one that was cleared.
//! - From 3.14 on a popped frame has no code (`clear_thread_frame`,
//!   `Python/ceval.c`), so the highest one that has is the newest, or is just
//!   being popped if it stands at a return.

use firefinch_memory::{Memory, RemoteAddr};

use super::frame::{Decoded, MAX_HEADER, Shape};
use super::known::Known;
use super::{DataStack, MAX_FRAMES};

/// How a frame stands in a copy, given that it could be executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is the newest.
    Newest,
    /// It waits for what it called, or what lies above it looks like that.
    Below,
    /// It has not the mark of one that executes or waits: it is just being
    /// begun, or releases its locals, or those of what it called. Only
    /// `current_frame` can tell that from one that is gone.
    Unmarked,
}

impl DataStack {
    /// How the frame stands in the last look's copy.
    pub(super) fn fit(&mut self, memory: &dyn Memory, known: &Known, newest: &Decoded) -> Fit {
        if newest.internal {
            return Fit::Newest;
        }
        let marked = self.frame.marks_executing();
        if marked && !newest.executing {
            return match self.waits(memory, newest) {
                true => Fit::Below,
                false => Fit::Unmarked,
            };
        }
        if !newest.in_chunk {
            return Fit::Newest;
        }
        let shape = self.shapes.get(memory, newest.frame.code);
        if shape.is_none_or(|shape| !shape.has(newest.frame.position)) {
            self.shapes.forget(newest.frame.code);
            return Fit::Unmarked;
        }
        let Some(above) = self.above(memory, newest) else {
            return Fit::Newest;
        };
        let lives = match marked {
            true => above.executing,
            false => !self.returns.is_at(memory, &above.frame),
        };
        // A loop of its own has an entry frame between.
        let called = above.previous == newest.frame.addr
            || above.entry
            || !known.is_in_chunk(above.previous);
        match lives && called {
            true => Fit::Below,
            false => Fit::Newest,
        }
    }

    /// The frame that was the newest when the data stack was copied: that which
    /// nothing alive lies above, going up from `from`, a frame that has not
    /// returned. `None` where that is not plain to see.
    pub(super) fn climb(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        from: RemoteAddr,
    ) -> Option<RemoteAddr> {
        let newest = self.highest(memory, known, from)?;
        let bytes = self.look.slice(newest, self.frame.span)?;
        let newest = self.frame.decode(newest, bytes)?;
        // One that goes through a generator may wait for it, which lies elsewhere.
        let waits = !newest.executing && self.resumes(memory, &newest.frame);
        (!waits).then_some(newest.frame.addr)
    }

    /// The same, which may wait for a generator.
    pub(super) fn highest(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        from: RemoteAddr,
    ) -> Option<RemoteAddr> {
        let bytes = self.look.slice(from, self.frame.span)?;
        let newest = self.frame.decode(from, bytes);
        let mut newest = newest.filter(|frame| !frame.is_cleared())?;
        let marked = self.frame.marks_executing();
        // The highest one that executes, and the highest one above it that has
        // something on its stack: it waits, or has just been returned to.
        let mut best = None;
        for _ in 0..MAX_FRAMES {
            if !marked || newest.executing || (newest.calling && self.frame.clears_height()) {
                best = Some(newest);
            }
            let Some(above) = self.above(memory, &newest) else {
                break;
            };
            let inlined = above.previous == newest.frame.addr && !above.entry;
            // What lies above one that stands where nothing is called was copied later.
            let returned = inlined
                && (newest.executing
                    || (!marked
                        && !self.calls.know_call(&newest.frame, &above.frame)
                        && self.cannot_push(memory, known, &newest.frame, &above.frame)));
            // What one that is gone has left behind may look alive.
            let leads = inlined
                || (above.entry && above.previous == newest.frame.addr)
                || (!known.is_in_chunk(above.previous)
                    && self.leads(memory, above.previous, newest.frame.addr));
            let shape = self.shapes.get(memory, above.frame.code);
            let is_whole = shape.is_some_and(|shape| shape.has(above.frame.position));
            if returned || !leads || !is_whole {
                break;
            }
            newest = above;
        }
        // Of those above one that called C code nobody says that he waits.
        let newest = best.filter(|best| !best.executing || best.frame == newest.frame)?;
        Some(newest.frame.addr)
    }

    /// Whether what lies outside the data stack, entry frames and generators that
    /// run, leads to this caller.
    fn leads(&self, memory: &dyn Memory, between: RemoteAddr, caller: RemoteAddr) -> bool {
        let mut own = [0; MAX_HEADER];
        let Some(own) = own.get_mut(..self.frame.span) else {
            return false;
        };
        let mut addr = between;
        for _ in 0..MAX_BETWEEN {
            let bytes = match self.look.slice(addr, self.frame.span) {
                Some(copied) => copied,
                None if memory.read(addr, own).is_ok() => own,
                None => return false,
            };
            let Some(frame) = self.frame.decode(addr, bytes) else {
                return false;
            };
            if frame.in_chunk {
                return false;
            }
            addr = frame.previous;
            if addr == caller || addr.is_null() {
                return addr == caller;
            }
        }
        false
    }

    /// The frame that lies directly above one in the data stack, alive or not, and
    /// does more than make a generator.
    pub(super) fn above(&mut self, memory: &dyn Memory, frame: &Decoded) -> Option<Decoded> {
        let shape = self.shapes.get(memory, frame.frame.code)?;
        let addr = frame.frame.addr.offset(shape.size);
        let bytes = self.look.slice(addr, self.frame.span)?;
        let above = self.frame.decode(addr, bytes)?;
        let lies = above.in_chunk && !above.is_cleared();
        let makes = |shape: Shape| shape.generator;
        // What is no frame at all is not looked at each time.
        let makes_one = self.shapes.may_have(&above.frame)
            && self.shapes.get(memory, above.frame.code).is_some_and(makes);
        (lies && !makes_one).then_some(above)
    }

    /// Whether a frame waits for what it called, to 3.13: a frame that executes
    /// lies above it, each called by the one below. The height of its own stack
    /// is no proof, as it stays behind when the frame is popped.
    fn waits(&mut self, memory: &dyn Memory, frame: &Decoded) -> bool {
        let mut below = *frame;
        for _ in 0..MAX_ABOVE {
            let above = self.above(memory, &below);
            let Some(above) = above.filter(|above| above.previous == below.frame.addr) else {
                return false;
            };
            if !below.calling || above.executing {
                return below.calling;
            }
            below = above;
        }
        false
    }
}

/// Generators and entry frames between two frames of the data stack that are
/// followed.
const MAX_BETWEEN: usize = 64;
/// Calls that are followed upwards; more of them do not begin within a microsecond.
const MAX_ABOVE: usize = 32;
