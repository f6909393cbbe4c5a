//! From frame to frame in what was copied, reading what was not.

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::frame::Decoded;
use super::known::{Known, Link, MAX_CHUNK};
use super::{DataStack, Seen};
use crate::frames::{RawFrame, StackError, Steps};

/// The newest frames, which may have called or returned while they were copied.
const MOVING: usize = 4;
/// Chunks of one thread: more than [`crate::MAX_FRAMES`] frames fill.
const MAX_CHUNKS: usize = 1 << 13;

impl DataStack {
    /// Follows `previous` from a frame to the oldest.
    pub(super) fn follow(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        newest: RemoteAddr,
    ) -> Result<Vec<RawFrame>, StackError> {
        let mut frames = Vec::with_capacity(known.believed.len() + 4);
        self.loops.clear();
        let mut addr = newest;
        let mut callee: Option<Decoded> = None;
        // The frame between two loops that was passed last, and its caller as
        // it was if it has not been read now.
        let mut between: Option<Link> = None;
        let mut expected: Option<Option<RawFrame>> = None;
        let mut steps = Steps::default();
        while !addr.is_null() {
            steps.count(addr)?;
            if let Some(link) = known.link(addr, frames.last(), seen.at) {
                known.meet_outside(addr);
                self.loops.meet_entry(frames.len(), addr, link.previous);
                expected = Some(link.caller);
                callee = None;
                addr = link.previous;
                continue;
            }
            let decoded = self.decode(memory, known, seen, addr)?;
            let floats = decoded.internal || !decoded.in_chunk;
            if floats {
                known.meet_outside(addr);
            }
            // A generator that has stopped since has no caller any more; what
            // runs in one was called by somebody.
            if floats && !decoded.internal && decoded.previous.is_null() {
                return Err(StackError::Garbage(addr));
            }
            // A frame that executes, or returns, has not called one in its own
            // loop. (Far from the newest nothing moves.)
            if callee.is_some_and(|callee| callee.shares_loop())
                && (decoded.executing
                    || (frames.len() <= MOVING && self.returns.is_at(memory, &decoded.frame)))
            {
                return Err(StackError::Torn);
            }
            if decoded.internal {
                self.loops.meet_entry(frames.len(), addr, decoded.previous);
                between = Some(Link {
                    addr,
                    previous: decoded.previous,
                    callee: frames.last().copied(),
                    caller: None,
                    at: seen.at,
                });
            } else {
                if expected
                    .take()
                    .is_some_and(|caller| caller != Some(decoded.frame))
                {
                    // The caller has moved on, so the link is read again.
                    known.forget_links();
                    return self.follow(memory, known, seen, newest);
                }
                if let Some(link) = between.take() {
                    let caller = Some(decoded.frame);
                    known.meet_link(Link { caller, ..link });
                }
                frames.push(decoded.frame);
                if decoded.entry {
                    self.loops.meet_oldest(frames.len());
                }
            }
            callee = Some(decoded);
            addr = decoded.previous;
        }
        if let Some(link) = between {
            known.meet_link(link);
        }
        self.loops.end(frames.len());
        Ok(frames)
    }

    /// The frame at `addr`, as the last look copied it, or copied now, with its
    /// chunk if it lies in one.
    pub(super) fn decode(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        addr: RemoteAddr,
    ) -> Result<Decoded, StackError> {
        let span = self.frame.span;
        if self.look.slice(addr, span).is_none() {
            match self.chunk_of(memory, seen.chunk, addr) {
                Some((chunk, offset)) => {
                    self.look.add(memory, chunk, offset + span)?;
                    known.meet_chunk(chunk, offset + span);
                }
                None => self.look.add(memory, addr, span)?,
            }
        }
        let bytes = self.look.slice(addr, span);
        let decoded = bytes.and_then(|bytes| self.frame.decode(addr, bytes));
        decoded.ok_or(StackError::Garbage(addr))
    }

    /// The chunk that `addr` lies in, and how far into it.
    fn chunk_of(
        &self,
        memory: &dyn Memory,
        newest: RemoteAddr,
        addr: RemoteAddr,
    ) -> Option<(RemoteAddr, usize)> {
        let mut chunk = newest;
        let mut own = [0; 64];
        for _ in 0..MAX_CHUNKS {
            if chunk.is_null() {
                break;
            }
            let header = match self.look.slice(chunk, self.chunk.span) {
                Some(header) => header,
                None => {
                    let own = own.get_mut(..self.chunk.span)?;
                    memory.read(chunk, own).ok()?;
                    own
                }
            };
            let view = Bytes(header);
            let size = view.u64(self.chunk.size)?.min(MAX_CHUNK);
            if let Some(offset) = addr.checked_sub(chunk).filter(|offset| *offset < size) {
                return Some((chunk, usize::try_from(offset).ok()?));
            }
            chunk = view.ptr(self.chunk.previous)?;
        }
        None
    }
}
