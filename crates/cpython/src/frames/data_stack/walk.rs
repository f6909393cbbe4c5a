//! From frame to frame in what was copied, reading what was not.

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::frame::Decoded;
use super::known::{Known, Link, MAX_CHUNK};
use super::path::{Chain, Path};
use super::trail::Trail;
use super::{DataStack, MAX_THREAD_STATE, Seen};
use crate::frames::{RawFrame, StackError, Steps};

/// The newest frames, which may have called or returned while they were copied.
const MOVING: usize = 4;
/// Of so many newest frames the loop may have ended meanwhile. Looking for a caller
/// takes as long as the stack is deep, so a hostile one may not ask for it each time.
const ENDED: usize = 64;
/// The rest of a stack is kept anew when more than so many frames of the next had to
/// be followed.
const RENEWED: usize = 16;
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
    ) -> Result<Chain, StackError> {
        let mut path = Path::new(known.believed.len());
        let mut trail = std::mem::take(&mut known.trail);
        // How much of the newest chunk is as it was, once that is asked.
        let mut same = None;
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
            if path.frames.len() > MOVING
                && (between.is_none() && expected.is_none() && resumed.is_none())
                && let Some(callee) = callee.filter(|callee| callee.in_chunk)
                && !self.loops.wanted()
            {
                let same = *same.get_or_insert_with(|| {
                    let bytes = self.look.piece(seen.chunk);
                    trail.same(seen.chunk, bytes.unwrap_or_default())
                });
                let rest = trail.rest(addr, self.frame.span, same, seen.at);
                if let Some(rest) = rest.filter(|rest| !(callee.shares_loop() && rest.executes())) {
                    let followed = path.frames.len();
                    path.end_with(&callee, rest);
                    for passed in rest.passed {
                        known.meet_outside(passed.addr);
                    }
                    if followed > RENEWED {
                        self.keep_trail(&mut trail, &path, seen);
                    }
                    known.trail = trail;
                    return Ok(path.chain());
                }
            }
            if let Some(link) = known.link(addr, path.frames.last(), seen.at) {
                known.meet_outside(addr);
                path.pass(addr, link.at);
                self.loops
                    .meet_entry(path.frames.len(), addr, link.previous);
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
                && path.frames.len() < ENDED
            {
                // The loop has ended since, and something else is there.
                path.newest_moved();
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
            if floats && !decoded.internal {
                known.meet_generator();
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
                path.push(&decoded, self.frame.lives(&decoded));
                path.newest_moved();
                in_chunk = false;
                (addr, resumed) = (resumer.addr, Some(resumer.code));
                (callee, between, expected) = (None, None, None);
                continue;
            }
            // A frame that executes, or returns, has nobody in its own loop above
            // it any more. (Far from the newest nothing moves.)
            if let Some(callee) = callee.filter(Decoded::shares_loop)
                && !decoded.internal
            {
                path.newest_is_inlined();
                let is_near = path.frames.len() <= MOVING;
                if decoded.executing || (is_near && self.returns.is_at(memory, &decoded.frame)) {
                    path.newest_moved();
                }
                if decoded.executing && self.look.is_before(decoded.frame.addr, callee.frame.addr) {
                    path.newest_is_later();
                }
            }
            if decoded.helper {
                // Nobody wrote it.
            } else if decoded.internal {
                path.pass(addr, seen.at);
                self.loops
                    .meet_entry(path.frames.len(), addr, decoded.previous);
                let passed = between.replace(Link {
                    addr,
                    previous: decoded.previous,
                    callee: path.frames.last().copied(),
                    caller: None,
                    at: seen.at,
                });
                // From 3.15 on the oldest loop has one in the thread state below it.
                if let Some(passed) = passed {
                    known.meet_link(passed);
                }
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
                path.push(&decoded, self.frame.lives(&decoded));
                in_chunk = decoded.in_chunk;
                if decoded.entry {
                    self.loops.meet_oldest(path.frames.len());
                }
            }
            callee = Some(decoded);
            addr = decoded.previous;
        }
        let root = path.frames.last().map(|root| (root.addr, in_chunk));
        self.is_whole(memory, known, seen, (newest, oldest), root)?;
        if let Some(link) = between {
            known.meet_link(link);
        }
        self.loops.end(path.frames.len());
        self.keep_trail(&mut trail, &path, seen);
        known.trail = trail;
        Ok(path.chain())
    }

    /// Keeps what lies below the newest frames of a path for the next one.
    fn keep_trail(&self, trail: &mut Trail, path: &Path, seen: Seen) {
        let bytes = self.look.piece(seen.chunk).unwrap_or_default();
        trail.keep(path.below(MOVING + 1), self.frame.span, (seen.chunk, bytes));
    }

    /// Whether a path has led to where stacks end: the frame at `root`, in the data
    /// stack or not, is the oldest one, and what was passed last is at `oldest`.
    fn is_whole(
        &self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        (newest, oldest): (RemoteAddr, RemoteAddr),
        root: Option<(RemoteAddr, bool)>,
    ) -> Result<(), StackError> {
        // One that is just being made names no caller either; but what has begun in
        // the thread state, from 3.15 on, ends there.
        let inside = oldest.checked_sub(seen.thread);
        let inside = inside.is_some_and(|inside| inside < MAX_THREAD_STATE);
        let inside = inside && self.loops.has_base();
        if known.based && !inside {
            return Err(StackError::Garbage(oldest));
        }
        known.based = inside;
        match root {
            None if !inside && !newest.is_null() => return Err(StackError::Garbage(newest)),
            Some((root, in_chunk)) if root != known.root => {
                // What was read of a loop that just begins leads nowhere as well.
                if in_chunk && !self.is_bottom(memory, seen, root) {
                    return Err(StackError::Garbage(root));
                }
                known.root = root;
            }
            _ => {}
        }
        Ok(())
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
