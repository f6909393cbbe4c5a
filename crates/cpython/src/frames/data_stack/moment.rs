//! Which frame is the newest, decided from one copy of the chunk.
//!
//! Frames are found from the chunk's start upwards: each begins where the one
//! below ends (`co_framesize`), and names it in `previous`. Above the live
//! ones lie dead ones that still look right, so the marks of life decide:
//!
//! - To 3.13 `stacktop` is −1 in a frame that executes
//!   (`_PyFrame_GetStackPointer`, `Include/internal/pycore_frame.h`), and in
//!   one that called C code, which may have begun a loop of its own above it.
//!   Where no frame of the newest loop has the mark, one is being pushed or
//!   popped: the lowest that stands before its first instruction or at a
//!   return. What lies above that one is dead, as it calls nothing.
//! - From 3.14 on a popped frame has no code (`clear_thread_frame`,
//!   `Python/ceval.c`), so the highest one that has is the newest, or is just
//!   being popped if it stands at a return.
//!
//! A frame that is being popped is a moment between two stacks: the
//! instruction begins in one and ends in the other, and a copy cannot tell how
//! far it has come, as `current_frame` is elsewhere. Both stacks existed within
//! that moment, so it is counted to each in turn. Counting it always to one
//! puts the innermost level some ten points off the truth on a target that
//! does nothing but call; in turn it was within four in most runs, and within
//! seven in all.

use firefinch_memory::{Memory, RemoteAddr};

use super::frame::Decoded;
use super::walk::Chunks;
use super::{DataStack, StackError};
use crate::frames::MAX_FRAMES;

impl DataStack {
    /// The newest frame of the newest chunk, where `current` was a moment ago.
    pub(super) fn top(
        &mut self,
        memory: &dyn Memory,
        chunks: &Chunks,
        current: RemoteAddr,
    ) -> Result<RemoteAddr, StackError> {
        let mut frames = self.upwards(memory, chunks);
        if frames.last().is_none_or(|last| last.frame.addr < current)
            && self.is_linked(chunks, current, &frames)
        {
            // It should have been reached: a shape was that of another code
            // object, which had the same address once.
            self.shapes.forget();
            frames = self.upwards(memory, chunks);
        }
        if self.frame.marks_executing() {
            return Ok(self.marked(memory, &frames, current));
        }
        let last = frames.last().ok_or(StackError::Garbage(current))?;
        if self.returns.is_at(memory, &last.frame) {
            return Ok(self.in_turn(last));
        }
        Ok(last.frame.addr)
    }

    /// The newest frame where executing ones are marked.
    fn marked(
        &mut self,
        memory: &dyn Memory,
        frames: &[Decoded],
        current: RemoteAddr,
    ) -> RemoteAddr {
        let executing = frames.iter().rposition(|frame| frame.executing);
        let above = match executing {
            Some(index) => frames.get(index + 1..).unwrap_or_default(),
            None => frames,
        };
        if let Some(marked) = executing.and_then(|index| frames.get(index)) {
            let marked = marked.frame.addr;
            // A loop of its own above it, or what an earlier one left behind?
            // Only where the thread was a moment ago can tell.
            let entered = above
                .first()
                .is_some_and(|frame| frame.entry || frame.previous != marked);
            if !entered || current <= marked {
                return marked;
            }
        }
        for frame in above {
            let position = frame.frame.position;
            let shape = self.shapes.get(memory, frame.frame.code);
            if shape.is_some_and(|shape| shape.is_first(position)) {
                return frame.previous;
            }
            if self.returns.is_at(memory, &frame.frame) {
                return self.in_turn(frame);
            }
        }
        current
    }

    /// The frame that is being popped and its caller, each in its turn.
    fn in_turn(&mut self, leaving: &Decoded) -> RemoteAddr {
        self.turn = !self.turn;
        if self.turn || leaving.previous.is_null() {
            leaving.frame.addr
        } else {
            leaving.previous
        }
    }

    /// The frames of the newest chunk from its start on, dead ones included
    /// where they cannot be told.
    fn upwards(&mut self, memory: &dyn Memory, chunks: &Chunks) -> Vec<Decoded> {
        let mut frames: Vec<Decoded> = Vec::new();
        let (Some(copy), Some(mut addr)) = (chunks.newest(), chunks.first_frame()) else {
            return frames;
        };
        let inside = |addr: RemoteAddr| copy.slice(addr, 1).is_some();
        while frames.len() < MAX_FRAMES {
            let bytes = copy.slice(addr, self.frame.span);
            let frame = bytes.and_then(|b| self.frame.decode(addr, b));
            let Some(frame) = frame.filter(|frame| frame.in_chunk) else {
                break;
            };
            // Its caller is the frame below, or lies in no chunk: a generator's
            // frame, or an entry frame on the C stack.
            let below = frames.last().map(|below| below.frame.addr);
            if below.is_some_and(|below| below != frame.previous && inside(frame.previous)) {
                break;
            }
            let Some(shape) = self.shapes.get(memory, frame.frame.code) else {
                break;
            };
            if !shape.has(frame.frame.position) {
                break;
            }
            frames.push(frame);
            addr = addr.offset(shape.size);
        }
        frames
    }

    /// Whether `current` is a live frame whose caller is one of `frames`.
    fn is_linked(&self, chunks: &Chunks, current: RemoteAddr, frames: &[Decoded]) -> bool {
        let bytes = chunks
            .newest()
            .and_then(|copy| copy.slice(current, self.frame.span));
        let frame = bytes.and_then(|bytes| self.frame.decode(current, bytes));
        frame.is_some_and(|frame| {
            let caller = |f: &Decoded| f.frame.addr == frame.previous;
            frames.is_empty() || frames.iter().any(caller)
        })
    }
}
