//! Stacks of what was executing when it was copied, where the callers of the newest frame
//! cannot be told.

use firefinch_memory::Memory;

use super::Linked;
use super::chain::Seen;

/// Frames that have returned between the first of a copy and its last.
const MAX_RETURNED: usize = 4;

impl Linked {
    /// Puts the newest frames of the last look, whose callers it could not tell, on those that
    /// were executing when they were copied, where one of these is known to call
    /// the oldest of them and stands there or has just come from there. To
    /// look again would show what can be told. In a recursion it may be another frame
    /// of the caller's function. Where that cannot be told, what was executing alone as far
    /// as its calls are known: as the stack if it was copied whole, else as what is sure of it.
    pub(super) fn join(
        &mut self,
        memory: &dyn Memory,
        proofs: &mut usize,
    ) -> (Option<Vec<Seen>>, Option<Vec<Seen>>) {
        let mut callers = self.chain.executing();
        let mut raw = callers.clone();
        let root = callers.last().copied();
        if !root.is_some_and(|root| self.is_root(memory, &root)) {
            return (None, None);
        }
        self.contexts.meet(&raw);
        let from = self.settle(memory, &mut callers);
        if from > 0 {
            self.habits.count(&raw);
            self.prove(memory, &raw, proofs);
            self.prove_rows(memory, &callers, proofs);
            // What is older stands for longer, and was executing all the same.
            raw.drain(..from);
            callers.drain(..from);
        }
        if let Some(joined) = self.on_executing(memory, &raw, &callers) {
            return (Some(joined), None);
        }
        // They were executing a moment later than the newest was, unless that and all its
        // callers were as well: then only the calls are not known yet.
        let moved = !self.chain.stood();
        match moved && self.chain.is_whole() {
            true => (Some(callers), None),
            false => (None, Some(callers)),
        }
    }

    pub(super) fn on_executing(
        &mut self,
        memory: &dyn Memory,
        raw: &[Seen],
        settled: &[Seen],
    ) -> Option<Vec<Seen>> {
        let mut newest: Vec<Seen> = Vec::new();
        for index in 0..MAX_RETURNED {
            let mut seen = *self.chain.walked().get(index)?;
            if let Some(callee) = newest.last() {
                if !self.is_reliable(callee) {
                    return None;
                }
                let callee = *callee;
                let place = self.place(memory, &seen, &callee);
                let place = place.or_else(|| self.linked_from(memory, &seen, &callee));
                seen.frame.position = place?;
            }
            newest.push(seen);
            let same = |other: &Seen| {
                other.frame.addr == seen.frame.addr && other.frame.code == seen.frame.code
            };
            if let Some(at) = raw.iter().position(same) {
                let seam = newest.len();
                newest.extend(settled.iter().skip(at + 1));
                let is_odd = (1..=seam).any(|index| self.is_odd(&newest, index));
                return (!is_odd).then_some(newest);
            }
            let found = raw.iter().enumerate().find_map(|(at, caller)| {
                let position = self.known_from(memory, caller, &seen)?;
                let mut callers = vec![seen];
                callers.extend(settled.iter().skip(at));
                callers.get_mut(1)?.frame.position = position;
                (!self.is_odd(&callers, 1)).then_some(callers)
            });
            if let Some(callers) = found {
                newest.pop();
                newest.extend(callers);
                return Some(newest);
            }
        }
        None
    }
}
