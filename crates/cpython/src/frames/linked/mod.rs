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
//! The newest frames of a chain that cannot be settled so are put on what was executing
//! when it was copied, if that is known to call them (`join`). Where that cannot be told
//! either, what was executing is shown alone: that is a moment of the thread as well, some
//! microseconds later, and to look again would show what stands still. So one call copies
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
#[cfg(test)]
mod tests;

use firefinch_memory::{Memory, RemoteAddr};

use super::c_frames::{CFrame, CFrames};
use super::program::{Code, Program};
use super::{Motion, Position, RawFrame, RawLoop, RawStack, StackError};
use crate::layout::{Layout, MissingField};
use chain::{Chain, Order, Seen};
use contexts::Contexts;
use habits::{Habits, Judgement, call};

/// Reads stacks that are chains of frame objects.
#[derive(Debug)]
pub(super) struct Linked {
    chain: Chain,
    habits: Habits,
    contexts: Contexts,
    program: Program,
    random: u64,
    tells_loops: bool,
    c_frames: Option<CFrames>,
}

/// How often a chain that moves is read again.
const LOOKS: usize = 16;
/// Frames that have returned between the first of a copy and its last.
const MAX_RETURNED: usize = 4;
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
            contexts: Contexts::default(),
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
            let known = match self.chain.look(memory, thread) {
                Ok(seen) => {
                    failure = StackError::Torn;
                    self.habits.count(&seen);
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
            if let Some(known) = known.or_else(|| self.join(memory, &mut proofs)) {
                let frames = known.into_iter().map(|seen| seen.frame).collect();
                return Ok(self.stack(memory, thread, frames));
            }
            if failure == StackError::Torn {
                let seen = self.chain.walked();
                self.habits.look(seen);
            }
            self.pause();
        }
        Err(failure)
    }

    /// A chain with every caller where it has called from, if that is known of all.
    fn settled(
        &mut self,
        memory: &dyn Memory,
        seen: Vec<Seen>,
        proofs: &mut usize,
    ) -> Option<Vec<Seen>> {
        let is_whole = seen
            .last()
            .is_none_or(|oldest| self.is_root(memory, oldest));
        if !is_whole {
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

    /// Puts the newest frames of the last look, whose callers it could not tell, on those that
    /// were executing when they were copied, where one of these is known to call
    /// the oldest of them and stands there or has just come from there. To
    /// look again would show what can be told. In a recursion it may be another frame
    /// of the caller's function.
    fn join(&mut self, memory: &dyn Memory, proofs: &mut usize) -> Option<Vec<Seen>> {
        let mut callers = self.chain.executing();
        let mut raw = callers.clone();
        if !self.is_root(memory, callers.last()?) {
            return None;
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
            return Some(joined);
        }
        // They were executing a moment later than the newest was, unless that and all its
        // callers were as well: then only the calls are not known yet.
        let moved = !self.chain.stood();
        (moved && self.chain.is_whole()).then_some(callers)
    }

    fn on_executing(
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

    /// From where `caller`, which may be another frame of its function, has called `callee`,
    /// if that was seen and it is there or was a moment ago.
    fn known_from(
        &mut self,
        memory: &dyn Memory,
        caller: &Seen,
        callee: &Seen,
    ) -> Option<Position> {
        let (caller, callee) = (caller.frame, callee.frame);
        let code = self.program.code(memory, caller.code)?;
        let at = offset(&caller)?;
        let mut places = self.known_places(&caller, &callee);
        places.sort_unstable();
        if places.contains(&at) {
            return Some(caller.position);
        }
        let place = code.came_straight_from(&places, at)?;
        i32::try_from(place).ok().map(Position::Offset)
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
    fn prove_rows(&mut self, memory: &dyn Memory, chain: &[Seen], left: &mut usize) {
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

    /// Where a caller is shown of which it is not known from where it has called.
    fn linked_from(
        &mut self,
        memory: &dyn Memory,
        caller: &Seen,
        callee: &Seen,
    ) -> Option<Position> {
        let code = self.program.code(memory, caller.frame.code)?;
        let to = self.program.code(memory, callee.frame.code)?;
        if code
            .surely_calls_to(callee.frame.code, &to)
            .next()
            .is_some()
        {
            return self.is_reliable(callee).then_some(Position::AnyCall);
        }
        let known = self.habits.places(caller.frame.code, callee.frame.code);
        // Whoever resumes a generator is not in its frame once it has yielded.
        let is_linked = known.is_empty()
            && !to.is_generator()
            && self.chain.is_kept(&caller.frame)
            && self.is_reliable(callee);
        if !is_linked {
            return None;
        }
        let operators = self.operators(&code, &to);
        let offset = offset(&caller.frame);
        let place = offset.filter(|offset| !operators.contains(offset));
        let place = place.and_then(|offset| {
            let passed = operators.partition_point(|place| *place < offset);
            // What comes behind was passed in the turn of a loop before.
            let last = operators.get(..passed)?.last();
            last.or(operators.last()).copied()
        });
        let place = place.and_then(|place| i32::try_from(place).ok());
        Some(place.map_or(caller.frame.position, Position::Offset))
    }

    /// Where the caller is believed to call the callee.
    fn known_places(&self, caller: &RawFrame, callee: &RawFrame) -> Vec<u32> {
        let places = self.habits.places(caller.code, callee.code).iter();
        let places = places.filter_map(|position| match position {
            Position::Offset(offset) => u32::try_from(*offset).ok(),
            Position::Instruction(..) | Position::AnyCall => None,
        });
        places.collect()
    }

    /// Where `code` may call `to`, if that is a method that operators call, in
    /// ascending order.
    fn operators(&self, code: &Code, to: &Code) -> Vec<u32> {
        let is_other = |at| code.calls_surely(at) && self.program.calls_python(code, at);
        let mut operators = code.operates_on(to, is_other);
        operators.sort_unstable();
        operators
    }

    /// Whether a frame still has the caller that it had when it ran: one on the free list
    /// is linked to another there.
    fn is_reliable(&self, seen: &Seen) -> bool {
        seen.lives || self.chain.is_kept(&seen.frame)
    }

    /// From where `caller` has called `callee`.
    fn place(&mut self, memory: &dyn Memory, caller: &Seen, callee: &Seen) -> Option<Position> {
        let this = call(&caller.frame, &callee.frame);
        let code = self.program.code(memory, caller.frame.code)?;
        let to = self.program.code(memory, callee.frame.code)?;
        let offset = offset(&caller.frame);
        if let Some(offset) = offset {
            let is_named = code.calls_by_name(offset, callee.frame.code, &to);
            if is_named && code.calls_surely(offset) {
                self.habits.believe_named(this);
                return Some(caller.frame.position);
            }
            if is_named || code.consumes(offset, callee.frame.code, &to) {
                self.habits.believe(this);
                return Some(caller.frame.position);
            }
        }
        let mut places: Vec<u32> = code.surely_calls_to(callee.frame.code, &to).collect();
        let is_named = !places.is_empty();
        let never_operates = offset.is_some_and(|offset| code.never_operates(offset, &to));
        let moved_on = offset.is_none_or(|offset| {
            let calls_other = || self.program.calls_python(&code, offset);
            never_operates
                || code.is_quiet(offset)
                || is_named && code.never_calls(offset, &to)
                || code.calls_surely(offset) && calls_other()
        });
        if !is_named && !never_operates && self.habits.is_intruder(callee.frame.code) {
            // One that is over may have left its caller somewhere else by now.
            let mut places = self.known_places(&caller.frame, &callee.frame);
            let place = match callee.lives {
                true => None,
                false => code.came_from(&mut places, offset),
            };
            let place = place.and_then(|place| i32::try_from(place).ok());
            return Some(place.map_or(caller.frame.position, Position::Offset));
        }
        let is_sure = self.chain.is_kept(&caller.frame) && self.is_reliable(callee);
        if !is_named && moved_on && is_sure {
            let mut operators = self.operators(&code, &to);
            if let Some(place) = code.came_from(&mut operators, offset) {
                return i32::try_from(place).ok().map(Position::Offset);
            }
        }
        if !moved_on {
            self.habits.watch(&this);
            match self.habits.judge(&this) {
                // Where a frame serves one function after another, what was its
                // caller's may be somebody else's by now.
                Judgement::Made
                    if !is_named
                        && (self.chain.is_kept(&caller.frame) || self.habits.is_usual(&this)) =>
                {
                    self.habits.believe(this);
                    return Some(caller.frame.position);
                }
                Judgement::Torn => {}
                Judgement::Made | Judgement::Open => return None,
            }
        }
        places.extend(self.known_places(&caller.frame, &callee.frame));
        if places.is_empty() {
            places.extend(code.calls_to(callee.frame.code, &to));
        }
        let place = match self.is_reliable(callee) {
            true => code.came_from(&mut places, offset),
            false => {
                places.sort_unstable();
                code.came_straight_from(&places, offset?)
            }
        }?;
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
        Position::Instruction(..) | Position::AnyCall => None,
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
