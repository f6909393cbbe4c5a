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
//! - *Calls without a name*, by iterators, decorators, or from C, are
//!   believed when they stood still in a row of looks, or when they are the
//!   usual ones among those caught in the act ([`Habits`]). Methods like `__and__` are
//!   called by few instructions, generator expressions by the call behind the one that
//!   made them: these are places as named calls are.
//!
//! What calls another function by name in several places, and has gone on to where each of
//! them may lead, is its caller whichever it was: it is shown without a line.
//!
//! The newest frames of a chain that cannot be settled so are put on what was executing
//! when it was copied, if that is known to call them (`join`). Where that cannot be told
//! either, what was executing is shown alone, without what is newer than the first call in
//! it that cannot be: that is a moment of the thread as well, some
//! microseconds later, and to look again would show what stands still. Where only the calls
//! of a chain are not known it waits for later looks to show them ([`Unproved`]), and what was
//! executing is shown in the end if none does. So one call copies
//! all frames that the thread has used lately, and not those of the last look only: of
//! what has begun meanwhile nothing else tells the callers. It does so while chains cannot
//! be told; others cost less.
//!
//! What is on the free list is given to another call within a microsecond. A function that
//! calls what it is given, as a decorator's wrapper does, then seems to call one thing
//! below the caller of another: [`Contexts`] knows which three in a row are met.

mod chain;
mod contexts;
mod habits;
mod join;
mod place;
mod proofs;
#[cfg(test)]
mod tests;

use firefinch_memory::{Memory, RemoteAddr};

use super::c_frames::{CFrame, CFrames};
use super::program::Program;
use super::{Copied, Motion, RawFrame, RawLoop, RawStack, StackError, Unproved};
use crate::layout::{Layout, MissingField};
use chain::Chain;
pub(super) use chain::Seen;
use contexts::Contexts;
use habits::{Habits, call};

/// Reads stacks that are chains of frame objects.
#[derive(Debug)]
pub(super) struct Linked {
    chain: Chain,
    habits: Habits,
    contexts: Contexts,
    program: Program,
    random: u64,
    tells_loops: bool,
    /// What the last reading has found, if some calls of it are not known.
    unproved: Option<Unproved>,
    /// Readings so far.
    readings: u64,
    c_frames: Option<CFrames>,
}

/// How often a chain that moves is read again.
const LOOKS: usize = 16;
/// Of these for one that cannot be told: others will come that it can be told by.
const LEARNING: usize = 4;
/// How often calls alone are looked at for one sample.
const PROOFS: usize = 32;
/// Readings after which a chain that waits is asked about again in any case.
const LESSON: u64 = 16;
/// Turns of an empty loop, each some tens of nanoseconds.
const MAX_PAUSE: u64 = 256;

impl Linked {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        Ok(Self {
            chain: Chain::new(layout)?,
            habits: Habits::default(),
            contexts: Contexts::default(),
            program: Program::new(layout)?,
            random: 0x9e37_79b9_7f4a_7c15,
            tells_loops: false,
            unproved: None,
            readings: 0,
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
        self.readings += 1;
        self.habits.begin();
        let mut proofs = PROOFS;
        // The caches are cold at first, and a cold look takes several times as long.
        self.chain.warm(memory, thread);
        // The first chain that cannot be told yet, for which all later looks are, and what
        // was executing then.
        let mut first: Option<(Vec<Seen>, Vec<Seen>)> = None;
        for turn in 0..LOOKS {
            if first.is_some() && turn >= LEARNING {
                break;
            }
            let mut whole = None;
            let known = match self.chain.look(memory, thread) {
                Ok(seen) => {
                    failure = StackError::Torn;
                    self.habits.count(&seen);
                    if self.is_whole(memory, &seen) {
                        whole = Some(seen.clone());
                    }
                    self.settled(memory, seen, &mut proofs)
                }
                Err(error) => {
                    failure = error;
                    None
                }
            };
            if known.is_none() {
                self.chain.widen(thread);
            }
            let (known, alone) = match known {
                Some(known) => (Some(known), None),
                None => self.join(memory, &mut proofs),
            };
            let known = match &first {
                Some((first, _)) => self.settled_later(memory, first),
                // It leads nowhere, and never will.
                None if whole.is_none() => known.or_else(|| alone.clone()),
                None => known,
            };
            if let Some(known) = known {
                let frames = known.into_iter().map(|seen| seen.frame).collect();
                return Ok(self.stack(memory, thread, frames));
            }
            first = first.or(whole.map(|whole| (whole, alone.unwrap_or_default())));
            if failure == StackError::Torn {
                let seen = self.chain.walked();
                self.habits.look(seen);
            }
            self.pause();
        }
        let Some((first, alone)) = first else {
            return Err(failure);
        };
        let frames = first.iter().map(|seen| seen.frame).collect();
        self.unproved = Some(Unproved {
            thread,
            stack: self.stack(memory, thread, frames),
            copied: Copied::Linked(first),
            sure: alone.into_iter().map(|seen| seen.frame).collect(),
            lessons: self.lessons(),
            asked: 0,
        });
        Err(StackError::Unproved)
    }

    pub(super) fn take_unproved(&mut self) -> Option<Unproved> {
        self.unproved.take()
    }

    /// Changes when more may be known than before: calls that were met more often may be
    /// believed by that.
    fn lessons(&self) -> u64 {
        self.habits.learnt().wrapping_add(self.readings / LESSON)
    }

    /// Whether the calls of a chain that was copied before are known by now.
    pub(super) fn place_later(&mut self, memory: &dyn Memory, unproved: &mut Unproved) -> bool {
        if !unproved.is_news(self.lessons()) {
            return false;
        }
        let Copied::Linked(chain) = &unproved.copied else {
            return false;
        };
        let Some(known) = self.settled_later(memory, chain) else {
            return false;
        };
        unproved.stack.frames = known.into_iter().map(|seen| seen.frame).collect();
        true
    }

    /// A chain that was copied before with every caller where it has called from, if that is
    /// known of all by now.
    fn settled_later(&mut self, memory: &dyn Memory, chain: &[Seen]) -> Option<Vec<Seen>> {
        let mut settled = chain.to_vec();
        if self.settle(memory, &mut settled) == 0 {
            return Some(settled);
        }
        settled.copy_from_slice(chain);
        self.link(memory, &mut settled).then_some(settled)
    }

    /// Whether a chain ends in a frame that can be the oldest.
    fn is_whole(&mut self, memory: &dyn Memory, seen: &[Seen]) -> bool {
        seen.last()
            .is_none_or(|oldest| self.is_root(memory, oldest))
    }

    /// A chain with every caller where it has called from, if that is known of all.
    fn settled(
        &mut self,
        memory: &dyn Memory,
        seen: Vec<Seen>,
        proofs: &mut usize,
    ) -> Option<Vec<Seen>> {
        if !self.is_whole(memory, &seen) {
            return None;
        }
        if self.chain.stood() && !self.contexts.is_empty() {
            self.contexts.meet(&seen);
        }
        let mut settled = seen.clone();
        let known = self.settle(memory, &mut settled) == 0 || {
            // To look again until a stack can be told would show what can be.
            self.prove(memory, &seen, proofs);
            self.prove_rows(memory, &seen, proofs);
            settled = seen;
            self.link(memory, &mut settled)
        };
        known.then_some(settled)
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

    /// Makes every caller stand where it called from. The newest frame below which that
    /// is known of all.
    fn settle(&mut self, memory: &dyn Memory, chain: &mut [Seen]) -> usize {
        let mut from = 0;
        for index in 1..chain.len() {
            let (callee, caller) = (chain[index - 1], chain[index]);
            if !self.habits.believes(&call(&caller.frame, &callee.frame)) {
                match self.place(memory, &caller, &callee) {
                    Some(position) => chain[index].frame.position = position,
                    None => from = index,
                }
            }
            if self.is_odd(chain, index) {
                from = index;
            }
        }
        from
    }

    /// Whether the frame at `index` is one that calls what it is given, and does not call
    /// the one before below the one behind.
    fn is_odd(&self, chain: &[Seen], index: usize) -> bool {
        let row = index
            .checked_sub(1)
            .and_then(|from| chain.get(from..from + 3));
        let Some([callee, caller, below]) = row else {
            return false;
        };
        !self.habits.is_named(&caller.frame) && self.contexts.is_odd(callee, caller, below)
    }

    /// Whether each call that is not known is one by what its frames say all the
    /// same, and only its place is not: a frame that is kept for one function is
    /// that function's, whenever it was copied, and what has it as `f_back` was
    /// called by it. So are trace functions, `__del__` and signal handlers, which
    /// run where their caller stands, and what is too brief to be met in a call.
    /// Callers of other methods stand at the last place that can have called them. Of a
    /// function that calls another by name in several places it is known that it has
    /// called it, if not from which.
    fn link(&mut self, memory: &dyn Memory, chain: &mut [Seen]) -> bool {
        for index in 1..chain.len() {
            let (callee, caller) = (chain[index - 1], chain[index]);
            if !self.habits.believes(&call(&caller.frame, &callee.frame)) {
                let found = self.place(memory, &caller, &callee);
                match found.or_else(|| self.linked_from(memory, &caller, &callee)) {
                    Some(position) => chain[index].frame.position = position,
                    None => return false,
                }
            }
            if self.is_odd(chain, index) {
                return false;
            }
        }
        true
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
