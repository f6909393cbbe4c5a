//! The stack that a thread had at the moment of a look.

use firefinch_memory::{Memory, RemoteAddr};

use super::known::Known;
use super::loops::Loops;
use super::newest::Fit;
use super::pace::Speed;
use super::path::Chain;
use super::place::{Placed, doubt};
use super::{DataStack, Seen};
use crate::frames::edges::{Calls, Doubt};
use crate::frames::{Copied, RawFrame, RawStack, StackError, Unproved};

/// Looks taken to learn the calls of a stack.
const LOOKS: usize = 16;
/// Looks in a row that must show the same where a thread seems neither to
/// execute nor to wait: it takes long to release something.
const STILL: usize = 2;
/// Looks in a row at which nothing has changed, after which nothing has moved:
/// what goes round is met elsewhere by one of them.
const STANDING: usize = 6;

impl DataStack {
    /// The stack that the last look shows.
    pub(super) fn stack_of(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
        seen: Seen,
    ) -> Result<RawStack, StackError> {
        let is_elsewhere = self.chunk_of(memory, seen.chunk, seen.current).is_none();
        let found = match self.is_aim(memory, known, seen) {
            true if seen.current.is_null() => {
                return Ok(seen.stack(Vec::new(), &Loops::default()));
            }
            // Read last, it says nothing of what was copied before, but that a
            // generator ran.
            true if !seen.late || is_elsewhere => self.chain(memory, known, seen, seen.current),
            _ => Err(StackError::Torn),
        };
        match found {
            Ok((fit, mut chain)) => {
                if fit == Fit::Below {
                    self.meet_entered(memory, known, seen.current);
                }
                if fit == Fit::Below && !known.debts.is_empty() {
                    let loops = self.loops.wanted().then(|| self.loops.clone());
                    if let Ok((_, later, mut deeper)) = self.newest_stack(memory, known, seen)
                        && self.place_all(memory, known, &later, &mut deeper.frames) == Placed::All
                        && known.debts.pay(&deeper)
                    {
                        return Ok(deeper);
                    }
                    // Those of the stack that is shown, not of the one followed last.
                    if let Some(loops) = loops {
                        self.loops = loops;
                    }
                }
                let are_known = self.knows_chain(known, &chain);
                // What was put together may seldom be wrong, and nothing shall wait for it.
                let stands = chain.callers_stand();
                let frames = match are_known {
                    true => std::mem::take(&mut chain.frames),
                    false => chain.frames.clone(),
                };
                let mut stack = seen.stack(frames, &self.loops);
                let placed = match are_known {
                    true => Placed::All,
                    false => self.place_all(memory, known, &chain, &mut stack.frames),
                };
                if placed == Placed::All {
                    // Without a mark of those that execute, one that stands at its
                    // return has mostly left.
                    if chain.has_moved(0) || !self.frame.marks_executing() {
                        self.place_left(memory, known, seen.at, stack.frames.first_mut());
                    }
                    if stands {
                        known.show(seen, &mut stack);
                    }
                    return Ok(stack);
                }
                if placed == Placed::StandingOnly {
                    let settled = self.settle(memory, thread, known, seen, (fit, chain), stack);
                    return settled.map(|mut stack| {
                        if stands {
                            known.show(seen, &mut stack);
                        }
                        stack
                    });
                }
                self.keep_unplaced(thread, stack, chain);
            }
            Err(StackError::TooDeep) => return Err(StackError::TooDeep),
            Err(_) => {}
        }
        // Something else lies there by now, or where its callers lay.
        if !seen.late {
            self.defer(memory, known, seen)?;
        }
        let (fit, chain, mut stack) = self.newest_stack(memory, known, seen)?;
        let found = match self.place_all(memory, known, &chain, &mut stack.frames) {
            Placed::All => Ok(stack),
            Placed::StandingOnly => self.settle(memory, thread, known, seen, (fit, chain), stack),
            Placed::NotAll => {
                self.keep_unplaced(thread, stack, chain);
                return Err(StackError::Torn);
            }
        };
        let shown = match &found {
            Ok(stack) => Some(stack),
            Err(_) => self.unproved.as_ref().map(Unproved::stack),
        };
        if let Some(shown) = shown.filter(|_| !seen.late && !is_elsewhere) {
            known.debts.owe(seen.current, shown);
        }
        found
    }

    /// Has the look wait for a stack that ends in the same frame, if one may be expected.
    fn defer(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
    ) -> Result<(), StackError> {
        let left = self.decode(memory, known, seen, seen.current).ok();
        let left = left.filter(|left| {
            let shape = self.shapes.get(memory, left.frame.code);
            let is_frame = shape.is_some_and(|shape| shape.has(left.frame.position));
            is_frame && !left.internal
        });
        let code = left.map_or(RemoteAddr::NULL, |left| left.frame.code);
        let Some(leaf) = seen.leaf(code) else {
            return Ok(());
        };
        // One of another function may be as large, or its code what was left there before.
        let waits = [leaf, leaf.of_any_code()].into_iter();
        let mut waits = waits.filter(|leaf| known.deferred.wait(*leaf));
        match waits.next() {
            Some(leaf) => Err(StackError::Deferred(leaf)),
            None => Ok(()),
        }
    }

    /// What the data stack shows by itself in the last look, hardly later than
    /// what `current_frame` said.
    fn newest_stack(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
    ) -> Result<(Fit, Chain, RawStack), StackError> {
        let from = known.lowest_in(seen.chunk).ok_or(StackError::Torn)?;
        let newest = self
            .climb(memory, known, from)
            .ok_or(StackError::Garbage(from))?;
        let (fit, chain) = self.chain(memory, known, seen, newest)?;
        let stack = seen.stack(chain.frames.clone(), &self.loops);
        Ok((fit, chain, stack))
    }

    /// The frames that lead to `newest`, as the last look copied them.
    fn chain(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        newest: RemoteAddr,
    ) -> Result<(Fit, Chain), StackError> {
        let decoded = self.decode(memory, known, seen, newest)?;
        let fit = self.fit(memory, known, &decoded);
        let mut chain = self.follow(memory, known, seen, newest)?;
        known.age();
        if fit == Fit::Unmarked {
            chain.doubt_newest();
        }
        // A frame that is just being pushed has the code of the new one, and the
        // place of the one that lay there before.
        let shape = self.shapes.get(memory, decoded.frame.code);
        let is_whole = shape.is_some_and(|shape| shape.has(decoded.frame.position));
        match decoded.internal || is_whole {
            true => Ok((fit, chain)),
            false => Err(StackError::Garbage(newest)),
        }
    }

    /// Makes every caller of `stack` stand where it called from; where that is
    /// not known, looks on until it is.
    fn settle(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
        seen: Seen,
        (fit, chain): (Fit, Chain),
        mut stack: RawStack,
    ) -> Result<RawStack, StackError> {
        if chain.stands() && self.believes(memory, known, seen, fit, &chain) {
            return Ok(stack);
        }
        let was_alive = chain.stands() && fit != Fit::Unmarked;
        let is_elsewhere = self.names_elsewhere(memory, &chain, &stack.frames);
        let is_likely = !is_elsewhere && (was_alive || !self.may_be_left(memory, &stack.frames));
        let first = chain.clone();
        // What the look before showed, to learn calls from.
        let is_quick = seen.speed == Speed::Prompt;
        let mut last = Some((fit, chain)).filter(|(_, chain)| chain.stands() && is_quick);
        // For how many looks nothing at all has changed.
        let mut standing = 0;
        for _ in 1..LOOKS {
            let seen = self.look(memory, thread, known)?;
            let before = last.take();
            if seen.speed != Speed::Prompt {
                continue;
            }
            let Ok((fit, chain)) = self.chain(memory, known, seen, seen.current) else {
                continue;
            };
            if !chain.stands() || self.contradicts(memory, known, &chain) {
                continue;
            }
            let stood = before.as_ref().is_some_and(|(_, before)| *before == chain);
            standing = if stood { standing + 1 } else { 0 };
            let program = &mut self.program;
            if let Some((was, before)) = before
                && ((was != Fit::Unmarked && fit != Fit::Unmarked) || standing >= STILL)
            {
                let needs_proof = |calls: &Calls, a: &RawFrame, b: &RawFrame| {
                    standing < STANDING
                        && (Self::crosses(known, a, b)
                            || program.contradicts(memory, a, b, calls.sites(a, b))
                            || doubt(calls, program, memory, chain.depth(b), (a, b)) != Doubt::None)
                };
                let depth = |callee: &RawFrame| before.depth(callee);
                let (one, two) = (&before.frames, &chain.frames);
                self.calls.learn(one, two, depth, needs_proof);
            }
            // A function may have another name than it is called by, but what is shown at
            // once may not.
            let needs_proof = |calls: &Calls, a: &RawFrame, b: &RawFrame| {
                Self::crosses(known, a, b)
                    || program.names_another(memory, a, b)
                    || program.contradicts(memory, a, b, calls.sites(a, b))
                    || doubt(calls, program, memory, first.depth(b), (a, b)) != Doubt::None
            };
            let (one, two) = (&stack.frames, &chain.frames);
            if is_likely && self.calls.may_be_new(one, two, needs_proof) {
                return Ok(stack);
            }
            self.believes(memory, known, seen, fit, &chain);
            if self.place_all(memory, known, &first, &mut stack.frames) == Placed::All {
                return Ok(stack);
            }
            last = Some((fit, chain));
        }
        if was_alive && self.may_call(memory, known, &first.frames) {
            // Seen like that again and again, they are known.
            let mut shows = true;
            for (callee, caller) in first.frames.iter().zip(first.frames.iter().skip(1)) {
                if !self.calls.know_call(caller, callee) {
                    let doubt = self.doubt(memory, &first, (caller, callee));
                    let depth = first.depth(callee);
                    self.calls.met_alive(caller, callee, depth, doubt);
                    // What has another name there waits for that.
                    shows &= self.calls.know_call(caller, callee)
                        || doubt == Doubt::None
                            && !self.program.names_another(memory, caller, callee);
                }
            }
            if shows {
                return Ok(stack);
            }
        }
        // Rather the caller was entered since, below what is left of a call by another one.
        if !seen.late && (is_elsewhere || self.is_of_another(memory, &first)) {
            self.defer(memory, known, seen)?;
        }
        self.unproved = Some(self.unproved(thread, stack, first));
        Err(StackError::Unproved)
    }

    /// Keeps a stack one of whose callers has gone on from nobody knows where: the next moment
    /// may be the same, if the thread has no processor.
    fn keep_unplaced(&mut self, thread: RemoteAddr, mut stack: RawStack, copied: Chain) {
        if self.unplaced.is_none() {
            stack.frames.clone_from(&copied.frames);
            self.unplaced = Some(self.unproved(thread, stack, copied));
        }
    }

    /// A stack that waits until its calls are known.
    fn unproved(&self, thread: RemoteAddr, stack: RawStack, copied: Chain) -> Unproved {
        Unproved {
            thread,
            stack,
            copied: Copied::DataStack(copied),
            sure: Vec::new(),
            lessons: self.calls.lessons(),
            asked: 0,
        }
    }
}
