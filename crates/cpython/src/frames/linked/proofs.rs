//! Proofs of what is not known yet, by looks at nothing else.

use firefinch_memory::Memory;

use super::Linked;
use super::chain::{Order, Seen};
use super::habits::call;
use super::place::offset;

/// How often a call alone is looked at for one sample.
const TRIES: usize = 8;

impl Linked {
    /// Looks at nothing but the two frames of each call that is not known.
    pub(super) fn prove(&mut self, memory: &dyn Memory, chain: &[Seen], left: &mut usize) {
        for pair in chain.windows(2) {
            let (callee, caller) = (&pair[0], &pair[1]);
            for turn in 0..TRIES {
                let is_known = self.habits.believes(&call(&caller.frame, &callee.frame))
                    || self.place(memory, caller, callee).is_some();
                if is_known || *left == 0 {
                    break;
                }
                *left -= 1;
                let order = match turn % 2 {
                    0 => Order::Same,
                    _ => Order::Reversed,
                };
                let (caller, callee) = (caller.frame.addr, callee.frame.addr);
                let seen = self.chain.observe(memory, caller, callee, order);
                if let Some(seen) = seen {
                    let code = self.program.code(memory, seen.caller.code);
                    let to = self.program.code(memory, seen.callee.code);
                    let at = offset(&seen.caller);
                    let is_quiet = code.as_ref().zip(at);
                    let is_quiet = is_quiet.is_some_and(|(code, at)| code.is_quiet(at));
                    let never = code.zip(to).zip(at);
                    let never = never.is_some_and(|((code, to), at)| code.never_operates(at, &to));
                    if !never {
                        self.habits.observe(&seen, order, is_quiet);
                    }
                }
            }
        }
    }

    /// The same for rows of three that are odd.
    pub(super) fn prove_rows(&mut self, memory: &dyn Memory, chain: &[Seen], left: &mut usize) {
        for index in 1..chain.len() {
            for _ in 0..TRIES {
                if *left == 0 || !self.is_odd(chain, index) {
                    break;
                }
                *left -= 1;
                let row = chain.get(index - 1..index + 2);
                if let Some(row) = row.and_then(|row| row.try_into().ok()) {
                    let stands = self.chain.stands(memory, row);
                    self.contexts.prove(row, stands);
                }
            }
        }
    }
}
