//! Whether a copied stack is believed: by the calls in it.

use firefinch_memory::Memory;

use super::frame::MAX_HEADER;
use super::known::Known;
use super::newest::Fit;
use super::path::Chain;
use super::{DataStack, Seen};
use crate::frames::RawFrame;
use crate::frames::edges::Doubt;
use crate::frames::program::Noted;

/// Bytes between two frames, one of which called the other, that are searched
/// for the callee: more than a function has locals and stack.
const MAX_SEARCHED: usize = 1 << 16;

impl DataStack {
    /// Whether every call of the stack is known to happen.
    pub(super) fn believes(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        fit: Fit,
        chain: &Chain,
    ) -> bool {
        let frames = &chain.frames;
        let unchanged = known.unchanged(frames);
        // What is dead may name whom it called in its life.
        if self.calls.know(frames, unchanged) || fit == Fit::Unmarked {
            return self.calls.know(frames, unchanged);
        }
        for (callee, caller) in frames.iter().zip(frames.iter().skip(1)) {
            if self.calls.know_call(caller, callee) {
                continue;
            }
            if Self::crosses(known, caller, callee) {
                self.prove(memory, known, caller, callee);
                continue;
            }
            let of_another = self.doubt(memory, chain, (caller, callee));
            if of_another == Doubt::IsAnother {
                self.prove(memory, known, caller, callee);
            }
            if !self.is_calling(memory, caller) {
                continue;
            }
            let noted = self.program.notes(memory, caller, callee);
            if noted == Noted::Callee {
                self.calls.read(caller, callee, chain.depth(callee));
            } else if self.names(caller, callee).unwrap_or(false)
                && !self.notes_elsewhere(memory, caller, callee)
                && ((self.still_stands(memory, caller) && known.pace.is_prompt(seen.at))
                    // What is over within a microsecond is hardly ever met standing.
                    || self.calls_by_name(memory, caller, callee))
            {
                let program = &mut self.program;
                let doubt = match noted {
                    _ if of_another != Doubt::None => of_another,
                    Noted::Another => Doubt::IsAnother,
                    _ if program.names_elsewhere(memory, caller, callee) => Doubt::IsAnother,
                    _ if program.names_another(memory, caller, callee) => Doubt::MayBeAnother,
                    _ => Doubt::None,
                };
                self.calls.told(caller, callee, chain.depth(callee), doubt);
            }
        }
        self.calls.know(frames, unchanged)
    }

    /// Whether the frame is at a call for certain, by the mark of its version.
    fn is_calling(&mut self, memory: &dyn Memory, frame: &RawFrame) -> bool {
        if !self.frame.marks_executing() {
            return self.call_sites.is_at(memory, frame);
        }
        let bytes = self.look.slice(frame.addr, self.frame.span);
        let decoded = bytes.and_then(|bytes| self.frame.decode(frame.addr, bytes));
        decoded.is_some_and(|decoded| decoded.calling)
    }

    /// Whether the caller stands where it calls something of the callee's name.
    fn calls_by_name(&mut self, memory: &dyn Memory, caller: &RawFrame, callee: &RawFrame) -> bool {
        let Some((code, at, to)) = self.program.pair(memory, caller, callee) else {
            return false;
        };
        at.is_some_and(|at| code.calls_by_name(at, callee.code, &to))
    }

    /// Whether a frame is as it was copied by the last look, a moment ago: so
    /// it was all the while that what lies behind it was copied.
    fn still_stands(&self, memory: &dyn Memory, frame: &RawFrame) -> bool {
        let Some(copied) = self.look.slice(frame.addr, self.frame.span) else {
            return false;
        };
        let mut now = [0; MAX_HEADER];
        let Some(now) = now.get_mut(..self.frame.span) else {
            return false;
        };
        memory.read(frame.addr, now).is_ok() && now == copied
    }

    /// Whether the caller itself says whom it calls: the function that is called
    /// stays on its caller's stack until the result takes its place (`CALL`,
    /// `Python/bytecodes.c`; `Python/ceval.c` in 3.11).
    fn names(&self, caller: &RawFrame, callee: &RawFrame) -> Option<bool> {
        let locals = self.frame.locals();
        let between = usize::try_from(callee.addr.checked_sub(caller.addr)?).ok()?;
        let len = between
            .checked_sub(locals)
            .filter(|len| *len < MAX_SEARCHED)?;
        let slots = self.look.slice(caller.addr.offset(locals as u64), len)?;
        let header = self.look.slice(callee.addr, self.frame.span)?;
        let function = self.frame.function(header).filter(|f| !f.is_null())?;
        let mut slots = slots.chunks_exact(8).map(|slot| self.frame.reference(slot));
        Some(slots.any(|slot| slot == Some(function)))
    }
}
