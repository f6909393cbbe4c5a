//! From where in its bytecode a caller has called.

use firefinch_memory::Memory;

use super::Linked;
use super::chain::Seen;
use super::habits::{Judgement, call};
use crate::frames::program::Code;
use crate::frames::{Position, RawFrame};

impl Linked {
    /// From where `caller`, which may be another frame of its function, has called `callee`,
    /// if that was seen and it is there or was a moment ago.
    pub(super) fn known_from(
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

    /// Where a caller is shown of which it is not known from where it has called.
    pub(super) fn linked_from(
        &mut self,
        memory: &dyn Memory,
        caller: &Seen,
        callee: &Seen,
    ) -> Option<Position> {
        let code = self.program.code(memory, caller.frame.code)?;
        let to = self.program.code(memory, callee.frame.code)?;
        let mut places: Vec<u32> = code.surely_calls_to(callee.frame.code, &to).collect();
        if !places.is_empty() {
            places.extend(self.known_places(&caller.frame, &callee.frame));
            places.sort_unstable();
            places.dedup();
            let position = match *places {
                [place] => Position::Offset(i32::try_from(place).ok()?),
                _ => Position::AnyCall,
            };
            return self.is_reliable(callee).then_some(position);
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
    pub(super) fn known_places(&self, caller: &RawFrame, callee: &RawFrame) -> Vec<u32> {
        let places = self.habits.places(caller.code, callee.code).iter();
        let places = places.filter_map(|position| match position {
            Position::Offset(offset) => u32::try_from(*offset).ok(),
            Position::Instruction(..) | Position::AnyCall => None,
        });
        places.collect()
    }

    /// Where `code` may call `to`, if that is a method that operators call, in
    /// ascending order.
    pub(super) fn operators(&self, code: &Code, to: &Code) -> Vec<u32> {
        let is_other = |at| code.calls_surely(at) && self.program.calls_python(code, at);
        let mut operators = code.operates_on(to, is_other);
        operators.sort_unstable();
        operators
    }

    /// Whether a frame still has the caller that it had when it ran: one on the free list
    /// is linked to another there.
    pub(super) fn is_reliable(&self, seen: &Seen) -> bool {
        seen.lives || self.chain.is_kept(&seen.frame)
    }

    /// From where `caller` has called `callee`.
    pub(super) fn place(
        &mut self,
        memory: &dyn Memory,
        caller: &Seen,
        callee: &Seen,
    ) -> Option<Position> {
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
}

/// Where in its bytecode a frame stands, once it has begun.
pub(super) fn offset(frame: &RawFrame) -> Option<u32> {
    match frame.position {
        Position::Offset(offset) => u32::try_from(offset).ok(),
        Position::Instruction(..) | Position::AnyCall => None,
    }
}
