//! Calls of generators, and by generators.
//!
//! Their frames lie in objects of their own, which are copied some hundred
//! nanoseconds before or after the data stack; and they come and go, one in the
//! place of another. So a stack may join a generator to a caller that goes
//! through another one by now. Standing still in two looks is no proof against
//! that: what goes round in a circle within microseconds is back where it was.
//!
//! A call that is not known yet is therefore proved by a look at nothing but
//! these two frames, each twice, in turn. If they were the same both times, they
//! were so in between, unless both have gone round and come back meanwhile. A
//! look that took longer than it must leaves time for that, and proves nothing;
//! and a few such looks have to agree, in both [orders](Order). What goes round
//! within two microseconds, the time of such a look, may still come through.

use std::time::Instant;

use firefinch_memory::{Memory, RemoteAddr};

use super::DataStack;
use super::known::Known;
use super::look::Look;
use crate::frames::RawFrame;

/// How often a call is looked at to be proved.
const TRIES: usize = 8;
/// How often calls are, for one sample.
pub(super) const BUDGET: usize = 32;

/// In which order the two frames are copied for the second time. What goes
/// round is met in the same place by one of them if it takes just as long as
/// that, and not by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    Same,
    Reversed,
}

impl DataStack {
    /// Whether a call is one of those that need a proof.
    pub(super) fn crosses(known: &Known, caller: &RawFrame, callee: &RawFrame) -> bool {
        !known.is_in_chunk(caller.addr) || !known.is_in_chunk(callee.addr)
    }

    /// Tries to prove that one frame calls the other, and learns whatever call
    /// is found between those two places.
    pub(super) fn prove(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        caller: &RawFrame,
        callee: &RawFrame,
    ) {
        for turn in 0..TRIES {
            let order = match turn % 2 {
                0 => Order::Same,
                _ => Order::Reversed,
            };
            if self.calls.know_call(caller, callee) || self.proofs_left == 0 {
                return;
            }
            self.proofs_left -= 1;
            if let Some((caller, callee)) = self.observe(memory, known, (caller, callee), order) {
                self.calls.observed(&caller, &callee, order);
            }
        }
    }

    /// The call that there is between these two places now.
    fn observe(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        (caller, callee): (&RawFrame, &RawFrame),
        order: Order,
    ) -> Option<(RawFrame, RawFrame)> {
        let span = self.frame.span;
        let decode = |look: &Look, addr| self.frame.decode(addr, look.slice(addr, span)?);
        // C code between them has a frame of the interpreter's own.
        let between = decode(&self.look, callee.addr)?.previous;
        let between = (between != caller.addr).then_some(between);
        let generator_calls = known.is_in_chunk(callee.addr);
        let (generator, other) = match generator_calls {
            true => (caller.addr, callee.addr),
            false => (callee.addr, caller.addr),
        };
        let mut plan: Vec<_> = between.map(|addr| (addr, span)).into_iter().collect();
        plan.extend([(generator, span), (other, span)]);
        let second = plan.len();
        plan.extend(match order {
            Order::Same => [(generator, span), (other, span)],
            Order::Reversed => [(other, span), (generator, span)],
        });
        let begun = Instant::now();
        let filled = self.proof.take_twice(memory, &plan, second..second + 2);
        if !known.pace.take_proof(begun.elapsed()) || filled < plan.len() {
            return None;
        }
        let twice = |addr: RemoteAddr, is_caller: bool| {
            let before = decode(&self.proof, addr)?;
            let after = self.frame.decode(addr, self.proof.again(addr, span)?)?;
            // The callee may have gone on.
            let stands = !is_caller || before.frame.position == after.frame.position;
            let same = before.frame.code == after.frame.code && before.previous == after.previous;
            (stands && same && !before.is_cleared()).then_some(before)
        };
        let callee = twice(callee.addr, false)?;
        let caller = twice(caller.addr, true)?;
        let leads = match between {
            None => callee.previous == caller.frame.addr,
            Some(between) => {
                let link = decode(&self.proof, between)?;
                callee.previous == between && link.internal && link.previous == caller.frame.addr
            }
        };
        // Its own loop has pushed the callee, which not every instruction does.
        let can_call = between.is_some()
            || !callee.shares_loop()
            || !self.cannot_push(memory, known, &caller.frame, &callee.frame);
        let can_call = can_call && !self.resumes_another(memory, &caller.frame, &callee.frame);
        (leads && can_call).then_some((caller.frame, callee.frame))
    }
}
