//! Callers to whom nothing leads any more: the interpreter's own frames, which lie
//! between loops, are on the C stack, where something else is a moment after the
//! loop has ended. But who called from C lay where it lies now: directly below what
//! it has led to in the data stack.

use firefinch_memory::{Memory, RemoteAddr};

use super::known::Known;
use super::{DataStack, MAX_FRAMES, Seen};

impl DataStack {
    /// The frame that lies directly below another one in the newest chunk.
    pub(super) fn below(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        seen: Seen,
        above: RemoteAddr,
    ) -> Option<RemoteAddr> {
        let mut addr = known.lowest_in(seen.chunk)?;
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
