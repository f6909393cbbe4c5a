//! Callers to whom nothing leads any more: the interpreter's own frames, which lie
//! between loops, are on the C stack, where something else is a moment after the
//! loop has ended. But who called from C lay where it lies now: directly below what
//! it has led to in the data stack.

use firefinch_memory::{Memory, RemoteAddr};

use super::known::Known;
use super::{DataStack, MAX_FRAMES, Seen};

/// Frames that are entered or left while a look is taken, and more.
const NEAR: usize = 256;

impl DataStack {
    /// The frame that lies directly below another one in the newest chunk.
    pub(super) fn below(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        seen: Seen,
        above: RemoteAddr,
    ) -> Option<RemoteAddr> {
        self.below_from(memory, known.lowest_in(seen.chunk)?, above)
    }

    /// The frame behind which the data stack ended.
    pub(super) fn ending_at(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        seen: Seen,
    ) -> Option<RemoteAddr> {
        let near = self.ending_near(memory, known, seen.current, seen.top);
        // Looking for it from the bottom takes as long as the stack is deep.
        let is_deep = known.believed.len() > NEAR;
        near.or_else(|| match is_deep {
            true => None,
            false => self.below(memory, known, seen, seen.top),
        })
    }

    /// The same, not far from a frame that was current a moment later.
    fn ending_near(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        later: RemoteAddr,
        top: RemoteAddr,
    ) -> Option<RemoteAddr> {
        let mut addr = later;
        for _ in 0..NEAR {
            let bytes = self.look.slice(addr, self.frame.span)?;
            let frame = self.frame.decode(addr, bytes)?;
            if frame.in_chunk && addr < top {
                return self.below_from(memory, addr, top);
            }
            addr = match known.resumers.of(&frame.frame) {
                Some(resumer) if frame.previous.is_null() => resumer.addr,
                _ => frame.previous,
            };
        }
        None
    }

    /// The frame that ends at `above`, as many frames further up as it takes.
    fn below_from(
        &mut self,
        memory: &dyn Memory,
        lowest: RemoteAddr,
        above: RemoteAddr,
    ) -> Option<RemoteAddr> {
        let mut addr = lowest;
        for _ in 0..MAX_FRAMES {
            let bytes = self.look.slice(addr, self.frame.span)?;
            let mut frame = self.frame.decode(addr, bytes)?;
            if frame.is_cleared() {
                frame.frame.code = self.shapes.code_at(frame.frame.position)?;
            }
            let size = self.shapes.get(memory, frame.frame.code)?.size;
            let end = addr.offset(size);
            if end >= above || !frame.in_chunk {
                return (end == above && frame.in_chunk).then_some(addr);
            }
            addr = end;
        }
        None
    }
}
