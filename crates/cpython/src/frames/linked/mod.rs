//! Frames as heap objects linked by `f_back` (`Include/frameobject.h`, to 3.10).
//!
//! # Why a stack read from a moving thread is true
//! `PyThreadState.frame` is one word, read at one moment: it decides which
//! function is seen, so that is as unbiased as the clock. Everything else is
//! read up to some microseconds later, when a fast program has long moved on,
//! but what a frame has left behind still tells how it was reached:
//!
//! - *Which function.* A frame that is released stays with its code object
//!   (`co_zombieframe`) and is used for its next call (`frame_dealloc`,
//!   `frame_alloc`, `Objects/frameobject.c`, 2.7 to 3.10). `f_code` and `f_back`
//!   are not cleared: its remains name its function and its last caller.
//!   Frames that a code object has no room for go to a free list that is linked
//!   by `f_back`, too. That links released frames with each other and ends in
//!   null, so a chain is one only if its oldest frame is executing.
//! - *From which line.* The caller may stand elsewhere by now. Which places of
//!   it call the function is read from its bytecode ([`program`](super::program)), where most
//!   callees are found by name. A caller that stands at none of them has moved
//!   on and is put back to the place that it must have come from: the only one
//!   there is, or the last one before it with no jump between.
//! - *Calls without a name*, by operators, iterators, decorators, or from C, are
//!   believed when they stood still in a row of looks, or when they are the
//!   usual ones among those caught in the act ([`Habits`]).
//!
//! A chain that cannot be settled so is read again from its newest frame,
//! a bounded number of times.

mod chain;
mod habits;
#[cfg(test)]
mod tests;

use firefinch_memory::{Memory, RemoteAddr};

use super::c_frames::{CFrame, CFrames};
use super::program::Program;
use super::{Motion, Position, RawFrame, RawLoop, RawStack, StackError};
use crate::layout::{Layout, MissingField};
use chain::{Chain, Order, Seen};
use habits::{Habits, Judgement, call};

/// Reads stacks that are chains of frame objects.
#[derive(Debug)]
pub(super) struct Linked {
    chain: Chain,
    habits: Habits,
    program: Program,
    random: u64,
    tells_loops: bool,
    c_frames: Option<CFrames>,
}

/// How often a chain that moves is read again.
const LOOKS: usize = 16;
/// How often calls alone are looked at for one sample, and how often each.
const PROOFS: usize = 32;
const TRIES: usize = 8;
/// Turns of an empty loop, each some tens of nanoseconds.
const MAX_PAUSE: u64 = 256;

impl Linked {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        Ok(Self {
            chain: Chain::new(layout)?,
            habits: Habits::default(),
            program: Program::new(layout)?,
            random: 0x9e37_79b9_7f4a_7c15,
            tells_loops: false,
            c_frames: CFrames::new(layout),
        })
    }

    pub(super) fn tell_loops(&mut self) {
        self.tells_loops = true;
    }

    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        if motion == Motion::Stopped {
            let frames = self.chain.follow(memory, thread)?;
            return Ok(self.stack(memory, thread, frames));
        }
        let mut failure = StackError::Torn;
        self.habits.begin();
        let mut proofs = PROOFS;
        // The caches are cold at first, and a cold look takes several times as long.
        let _ = self.chain.look(memory, thread);
        for _ in 0..LOOKS {
            let seen = match self.chain.look(memory, thread) {
                Ok(seen) => seen,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            failure = StackError::Torn;
            self.habits.count(&seen);
            if seen
                .last()
                .is_some_and(|oldest| !self.is_root(memory, oldest))
            {
                continue;
            }
            let mut settled = seen.clone();
            let known = self.settle(memory, &mut settled) || {
                // To look again until a stack can be told would show what can be.
                self.prove(memory, &seen, &mut proofs);
                settled.clone_from(&seen);
                self.settle(memory, &mut settled) || self.is_linked(memory, &seen)
            };
            if known {
                let frames = settled.into_iter().map(|seen| seen.frame).collect();
                return Ok(self.stack(memory, thread, frames));
            }
            self.habits.look(&seen);
            self.pause();
        }
        Err(failure)
    }

    /// Each frame is run by a loop of its own, generators' too.
    fn stack(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        frames: Vec<RawFrame>,
    ) -> RawStack {
        let mut loops = Vec::new();
        if self.tells_loops {
            let one = RawLoop {
                frames: 1,
                within: None,
            };
            loops.resize(frames.len(), one);
            if let Some(c_frames) = &mut self.c_frames
                && let Some(chain) = c_frames.read(memory, thread, None)
            {
                place(&mut loops, chain);
            }
        }
        RawStack {
            frames,
            loops,
            ..RawStack::default()
        }
    }

    /// Whether a frame without a caller can be the oldest. Somebody resumed a
    /// generator, even if it has just given that up.
    fn is_root(&mut self, memory: &dyn Memory, oldest: &Seen) -> bool {
        let code = self.program.code(memory, oldest.frame.code);
        oldest.lives && code.is_none_or(|code| !code.is_generator())
    }

    /// Looks at nothing but the two frames of each call that is not known.
    fn prove(&mut self, memory: &dyn Memory, chain: &[Seen], left: &mut usize) {
        for pair in chain.windows(2) {
            let (callee, caller) = (pair[0].frame, pair[1].frame);
            for turn in 0..TRIES {
                let is_known = self.habits.believes(&call(&caller, &callee))
                    || self.place(memory, &caller, &callee).is_some();
                if is_known || *left == 0 {
                    break;
                }
                *left -= 1;
                let order = match turn % 2 {
                    0 => Order::Same,
                    _ => Order::Reversed,
                };
                let seen = self.chain.observe(memory, caller.addr, callee.addr, order);
                if let Some(seen) = seen {
                    let code = self.program.code(memory, seen.caller.code);
                    let is_quiet = code.zip(offset(&seen.caller));
                    let is_quiet = is_quiet.is_some_and(|(code, at)| code.is_quiet(at));
                    self.habits.observe(&seen, order, is_quiet);
                }
            }
        }
    }

    /// Makes every caller stand where it called from; `false` if that is not
    /// known of one of them.
    fn settle(&mut self, memory: &dyn Memory, chain: &mut [Seen]) -> bool {
        let mut settled = true;
        for index in 1..chain.len() {
            let (callee, caller) = (chain[index - 1].frame, chain[index].frame);
            if self.habits.believes(&call(&caller, &callee)) {
                continue;
            }
            match self.place(memory, &caller, &callee) {
                Some(position) => chain[index].frame.position = position,
                None => settled = false,
            }
        }
        settled
    }

    /// Whether each call that is not known is one by what its frames say all the
    /// same, and only its place is not: a frame that is kept for one function is
    /// that function's, whenever it was copied, and what has it as `f_back` was
    /// called by it. So are trace functions, `__del__` and signal handlers, which
    /// run where their caller stands, and what is too brief to be met in a call.
    fn is_linked(&mut self, memory: &dyn Memory, chain: &[Seen]) -> bool {
        chain.windows(2).all(|pair| {
            let (callee, caller) = (&pair[0], &pair[1]);
            if self.habits.believes(&call(&caller.frame, &callee.frame))
                || self.place(memory, &caller.frame, &callee.frame).is_some()
            {
                return true;
            }
            let (Some(code), Some(to)) = (
                self.program.code(memory, caller.frame.code),
                self.program.code(memory, callee.frame.code),
            ) else {
                return false;
            };
            let is_placed = code
                .surely_calls_to(callee.frame.code, &to)
                .next()
                .is_some();
            let known = self.habits.places(caller.frame.code, callee.frame.code);
            // Whoever resumes a generator is not in its frame once it has yielded.
            !is_placed
                && known.is_empty()
                && !to.is_generator()
                && self.chain.is_kept(&caller.frame)
                && (callee.lives || self.chain.is_kept(&callee.frame))
        })
    }

    /// From where `caller` has called `callee`.
    fn place(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> Option<Position> {
        let this = call(caller, callee);
        let code = self.program.code(memory, caller.code)?;
        let to = self.program.code(memory, callee.code)?;
        let offset = offset(caller);
        if let Some(offset) = offset
            && code.calls_by_name(offset, callee.code, &to)
        {
            match code.calls_surely(offset) {
                true => self.habits.believe_named(this),
                false => self.habits.believe(this),
            }
            return Some(caller.position);
        }
        let mut places: Vec<u32> = code.surely_calls_to(callee.code, &to).collect();
        let is_named = !places.is_empty();
        let moved_on = offset.is_none_or(|offset| {
            let calls_other = || self.program.calls_python(&code, offset);
            code.is_quiet(offset) || code.calls_surely(offset) && calls_other()
        });
        if !is_named && self.habits.is_intruder(callee.code) {
            return Some(caller.position);
        }
        if !moved_on {
            self.habits.watch(&this);
            match self.habits.judge(&this) {
                // Where a frame serves one function after another, what was its
                // caller's may be somebody else's by now.
                Judgement::Made
                    if !is_named && (self.chain.is_kept(caller) || self.habits.is_usual(&this)) =>
                {
                    self.habits.believe(this);
                    return Some(caller.position);
                }
                Judgement::Torn => {}
                Judgement::Made | Judgement::Open => return None,
            }
        }
        let known = self.habits.places(caller.code, callee.code).iter();
        places.extend(known.filter_map(|position| match position {
            Position::Offset(offset) => u32::try_from(*offset).ok(),
            Position::Instruction(..) => None,
        }));
        if places.is_empty() {
            places.extend(code.calls_to(callee.code, &to));
        }
        let place = code.came_from(&mut places, offset)?;
        i32::try_from(place).ok().map(Position::Offset)
    }

    /// Passes up to some microseconds, never the same time twice in a row.
    fn pause(&mut self) {
        // xorshift (Marsaglia 2003): any sequence that keeps no step will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        for _ in 0..self.random % MAX_PAUSE {
            std::hint::spin_loop();
        }
    }
}

/// Where in its bytecode a frame stands, once it has begun.
fn offset(frame: &RawFrame) -> Option<u32> {
    match frame.position {
        Position::Offset(offset) => u32::try_from(offset).ok(),
        Position::Instruction(..) => None,
    }
}

/// Says where the loops lie: 3.10 links what they keep on the C stack just
/// before their frame, and unlinks it just before that, too.
fn place(loops: &mut Vec<RawLoop>, chain: &[CFrame]) {
    let Some((_, chain)) = chain.split_last() else {
        return;
    };
    if chain.len() == loops.len() + 1 {
        let begun = RawLoop {
            frames: 0,
            within: None,
        };
        loops.insert(0, begun);
    }
    if loops.len().abs_diff(chain.len()) > 1 {
        return;
    }
    for (own, c_frame) in loops.iter_mut().rev().zip(chain.iter().rev()) {
        own.within = Some(c_frame.addr);
    }
}
