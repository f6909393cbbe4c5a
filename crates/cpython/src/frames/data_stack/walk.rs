//! From frame to frame in what was copied, reading what was not.

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::frame::{Decoded, Instructions};
use super::known::{Known, Link, MAX_CHUNK};
use super::{DataStack, MAX_THREAD_STATE, Seen};
use crate::frames::{RawFrame, StackError, Steps};

/// The newest frames, which may have called or returned while they were copied.
const MOVING: usize = 4;
/// Of so many newest frames the loop may have ended meanwhile. Looking for a caller
/// takes as long as the stack is deep, so a hostile one may not ask for it each time.
const ENDED: usize = 64;
/// Chunks of one thread: more than [`crate::MAX_FRAMES`] frames fill.
const MAX_CHUNKS: usize = 1 << 13;

/// Frames that lead from one to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Newest first.
    pub(super) frames: Vec<RawFrame>,
    /// A bit for each of the newest frames that had returned when it was copied,
    /// or whose caller had gone on.
    moved: u64,
    /// A bit for each of them that its caller has called in its own loop.
    inlined: u64,
}

impl Chain {
    /// Whether all frames were alive in the copy.
    pub(super) fn stands(&self) -> bool {
        self.moved == 0
    }

    /// Whether the caller of this frame may not stand where it called from.
    pub(super) fn has_moved(&self, callee: usize) -> bool {
        self.moved & bit(callee) != 0
    }

    /// The newest frame may have returned when it was copied.
    pub(super) fn doubt_newest(&mut self) {
        self.moved |= bit(0);
    }

    /// Whether the caller of this frame has called it in its own loop.
    pub(super) fn is_inlined(&self, callee: usize) -> bool {
        self.inlined & bit(callee) != 0
    }
}

/// The last one stands for all that are further from the newest.
fn bit(index: usize) -> u64 {
    1 << index.min(63)
}

impl DataStack {
    /// Follows `previous` from a frame to the oldest.
    pub(super) fn follow(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        newest: RemoteAddr,
    ) -> Result<Chain, StackError> {
        let (mut moved, mut inlined) = (0, 0);
        let mut frames = Vec::with_capacity(known.believed.len() + 4);
        self.loops.clear();
        let mut addr = newest;
        let mut callee: Option<Decoded> = None;
        // The frame between two loops that was passed last, and its caller as
        // it was if it has not been read now.
        let mut between: Option<Link> = None;
        let mut expected: Option<Option<RawFrame>> = None;
        // The code of whom the generator passed last was resumed by.
        let mut resumed: Option<RemoteAddr> = None;
        let mut steps = Steps::default();
        let mut oldest = newest;
        // The last one that was pushed says so of itself.
        let mut in_chunk = false;
        while !addr.is_null() {
            steps.count(addr)?;
            oldest = addr;
            if let Some(link) = known.link(addr, frames.last(), seen.at) {
                known.meet_outside(addr);
                self.loops.meet_entry(frames.len(), addr, link.previous);
                expected = Some(link.caller);
                callee = None;
                addr = link.previous;
                continue;
            }
            let decoded = self.decode(memory, known, seen, addr);
            let under = callee.filter(|callee| callee.in_chunk);
            if let Some(under) = under
                && known.was_link(addr)
                && !decoded.is_ok_and(|decoded| decoded.internal)
                && !self.loops.wanted()
                && frames.len() < ENDED
            {
                // The loop has ended since, and something else is there.
                moved |= bit(frames.len().saturating_sub(1));
                let below = self.below(memory, known, seen, under.frame.addr);
                addr = below.ok_or(StackError::Garbage(addr))?;
                callee = None;
                continue;
            }
            let decoded = decoded?;
            // It has been pushed and not begun: the loop sets it. (To 3.11 the
            // oldest frame has none.)
            if decoded.in_chunk && decoded.previous.is_null() && self.frame.has_entry_frames() {
                return Err(StackError::Garbage(addr));
            }
            let floats = decoded.internal || !decoded.in_chunk;
            if floats {
                known.meet_outside(addr);
            }
            if resumed
                .take()
                .is_some_and(|code| code != decoded.frame.code)
            {
                return Err(StackError::Garbage(addr));
            }
            // A generator that has given up its turn since names its caller no
            // more; what runs in one was called by somebody.
            if floats && !decoded.internal && decoded.previous.is_null() {
                let resumer = known.resumers.of(&decoded.frame);
                let resumer = resumer.ok_or(StackError::Garbage(addr))?;
                moved |= bit(frames.len());
                frames.push(decoded.frame);
                in_chunk = false;
                (addr, resumed) = (resumer.addr, Some(resumer.code));
                (callee, between, expected) = (None, None, None);
                continue;
            }
            // A frame that executes, or returns, has nobody in its own loop above
            // it any more. (Far from the newest nothing moves.)
            let index = frames.len();
            let is_below = callee.is_some_and(|callee| callee.shares_loop());
            let at_end = |returns: &mut Instructions| {
                index <= MOVING && returns.is_at(memory, &decoded.frame)
            };
            if is_below {
                inlined |= bit(index.saturating_sub(1));
            }
            if is_below && (decoded.executing || at_end(&mut self.returns)) {
                moved |= bit(index.saturating_sub(1));
            }
            if decoded.popped {
                moved |= bit(index);
            }
            if decoded.helper {
                // Nobody wrote it.
            } else if decoded.internal {
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
                in_chunk = decoded.in_chunk;
                if decoded.entry {
                    self.loops.meet_oldest(frames.len());
                }
            }
            callee = Some(decoded);
            addr = decoded.previous;
        }
        // One that is just being made names no caller either; but what has begun in
        // the thread state, from 3.15 on, ends there.
        let inside = oldest.checked_sub(seen.thread);
        let inside = inside.is_some_and(|inside| inside < MAX_THREAD_STATE);
        let inside = inside && self.loops.has_base();
        if known.based && !inside {
            return Err(StackError::Garbage(oldest));
        }
        known.based = inside;
        if frames.is_empty() && !inside && !newest.is_null() {
            return Err(StackError::Garbage(newest));
        }
        if let Some(root) = frames.last()
            && root.addr != known.root
        {
            // What was read of a loop that just begins leads nowhere as well.
            if in_chunk && !self.is_bottom(memory, seen, root.addr) {
                return Err(StackError::Garbage(root.addr));
            }
            known.root = root.addr;
        }
        if let Some(link) = between {
            known.meet_link(link);
        }
        self.loops.end(frames.len());
        Ok(Chain {
            frames,
            moved,
            inlined,
        })
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
        let mut decoded = decoded.ok_or(StackError::Garbage(addr))?;
        if decoded.is_cleared() {
            let code = self.shapes.code_at(decoded.frame.position);
            decoded.frame.code = code.ok_or(StackError::Garbage(addr))?;
            decoded.popped = true;
        }
        decoded.helper = decoded.in_chunk && self.shapes.is_helper(memory, &decoded.frame);
        Ok(decoded)
    }

    /// Whether nothing can lie below the frame at `addr`: the oldest chunk begins with
    /// it, behind a word that is left free (`push_chunk`, `Python/pystate.c`).
    fn is_bottom(&self, memory: &dyn Memory, seen: Seen, addr: RemoteAddr) -> bool {
        let Some((chunk, offset)) = self.chunk_of(memory, seen.chunk, addr) else {
            return false;
        };
        let mut own = [0; 8];
        let previous = chunk.offset(self.chunk.previous as u64);
        let previous = match self.look.slice(previous, 8) {
            Some(copied) => copied,
            None if memory.read(previous, &mut own).is_ok() => &own,
            None => return false,
        };
        offset == self.chunk.data + 8 && Bytes(previous).ptr(0).is_some_and(RemoteAddr::is_null)
    }

    /// The chunk that `addr` lies in, and how far into it.
    pub(super) fn chunk_of(
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
