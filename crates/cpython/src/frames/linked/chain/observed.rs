//! Looks at nothing but the frames of one call or two, each copied twice.

use firefinch_memory::{Memory, Range, RemoteAddr};

use super::{Chain, Seen};
use crate::frames::RawFrame;

/// In which order the two frames are copied for the second time. What goes
/// round is met in the same place by one of them if it takes just as long as
/// that, and not by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::frames::linked) enum Order {
    Same,
    Reversed,
}

/// What a look at a caller and its callee alone has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::frames::linked) struct Observed {
    pub(in crate::frames::linked) caller: RawFrame,
    pub(in crate::frames::linked) callee: RawFrame,
    /// Whether it was the same when both were copied again.
    pub(in crate::frames::linked) stands: bool,
}

impl Chain {
    /// The call between these two frames now, each being copied twice, in turn.
    /// If both were the same both times they were so in between, unless both
    /// have gone round and come back meanwhile.
    pub(in crate::frames::linked) fn observe(
        &mut self,
        memory: &dyn Memory,
        caller: RemoteAddr,
        callee: RemoteAddr,
        order: Order,
    ) -> Option<Observed> {
        let span = self.fields.span;
        self.proof.resize(4 * span, 0);
        let plan = match order {
            Order::Same => [callee, caller, callee, caller],
            Order::Reversed => [callee, caller, caller, callee],
        };
        let parts = self.proof.chunks_exact_mut(span).zip(plan);
        let mut ranges: Vec<_> = parts.map(|(buf, addr)| Range { addr, buf }).collect();
        if memory.read_scattered(&mut ranges) < plan.len() {
            return None;
        }
        let mut parts = self.proof.chunks_exact(span).zip(plan);
        let mut next = || {
            let (bytes, addr) = parts.next()?;
            self.fields.decode(addr, bytes)
        };
        let (callee_before, caller_before) = (next()?, next()?);
        let lives = callee_before.0.lives && caller_before.0.lives;
        if !lives || callee_before.1 != caller {
            return None;
        }
        let (one, two) = (next(), next());
        let (callee_after, caller_after) = match order {
            Order::Same => (one, two),
            Order::Reversed => (two, one),
        };
        // The callee may have gone on.
        let callee_stands = callee_after.is_some_and(|(seen, back)| {
            seen.lives && seen.frame.code == callee_before.0.frame.code && back == caller
        });
        Some(Observed {
            caller: caller_before.0.frame,
            callee: callee_before.0.frame,
            stands: callee_stands && caller_after == Some(caller_before),
        })
    }

    /// Whether a frame is called by the next and that by the one behind, all three being
    /// copied twice.
    pub(in crate::frames::linked) fn stands(
        &mut self,
        memory: &dyn Memory,
        row: &[Seen; 3],
    ) -> bool {
        let span = self.fields.span;
        self.proof.resize(2 * row.len() * span, 0);
        let twice = row.iter().chain(row);
        let parts = self.proof.chunks_exact_mut(span).zip(twice);
        let range = |(buf, seen): (_, &Seen)| Range {
            addr: seen.frame.addr,
            buf,
        };
        let mut ranges: Vec<_> = parts.map(range).collect();
        if memory.read_scattered(&mut ranges) < 2 * row.len() {
            return false;
        }
        let callers = row.iter().skip(1).map(Some).chain([None]);
        let calls = row.iter().zip(callers);
        let mut copies = self
            .proof
            .chunks_exact(span)
            .zip(calls.clone().chain(calls));
        copies.all(|(bytes, (seen, caller))| {
            let decoded = self.fields.decode(seen.frame.addr, bytes);
            decoded.is_some_and(|(now, back)| {
                let is_same = now.lives && now.frame.code == seen.frame.code;
                is_same && caller.is_none_or(|caller| caller.frame.addr == back)
            })
        })
    }
}
