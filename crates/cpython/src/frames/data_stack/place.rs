//! From where callers have called, by what their bytecode says and what is
//! known of their calls.

use firefinch_memory::Memory;
use smallvec::SmallVec;

use super::DataStack;
use super::known::Known;
use super::path::Chain;
use crate::frames::edges::{Calls, Depth, Doubt};
use crate::frames::program::{Noted, Program};
use crate::frames::{Position, RawFrame};

/// Whether the callers of a stack stand where they called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Placed {
    /// One has gone on, and it is not known from where.
    NotAll,
    /// Those that have gone on; of others it is not known.
    StandingOnly,
    All,
}

/// Where a caller stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// Where it called from, as far as is known.
    Standing,
    /// It has gone on since.
    Behind,
    /// It stood elsewhere when it was copied, and what lives above it was copied after
    /// that: it has called that later.
    Before,
}

/// Of the newest frames so many may have been called while one piece was copied. What
/// more lie on are there for longer than that.
const JUST_CALLED: usize = 2;

/// Whether the caller of a frame, at a call through C code that is not known, has called it
/// just like that from elsewhere. A caller is copied before what lies above it, so it may
/// have gone on to there in between.
pub(super) fn doubt(
    calls: &Calls,
    program: &mut Program,
    memory: &dyn Memory,
    depth: Option<Depth>,
    (caller, callee): (&RawFrame, &RawFrame),
) -> Doubt {
    let leads = |place| program.leads(memory, caller, place);
    depth.map_or(Doubt::None, |depth| {
        calls.is_of_another(caller, callee, depth, leads)
    })
}

impl DataStack {
    /// The same, of two frames that follow each other in `chain`.
    pub(super) fn doubt(
        &mut self,
        memory: &dyn Memory,
        chain: &Chain,
        pair: (&RawFrame, &RawFrame),
    ) -> Doubt {
        let depth = chain.depth(pair.1);
        doubt(&self.calls, &mut self.program, memory, depth, pair)
    }

    /// Whether some caller, at a call that is not known, has called this one just like that
    /// from elsewhere, to where it may come from there.
    pub(super) fn is_of_another(&mut self, memory: &dyn Memory, chain: &Chain) -> bool {
        let pairs = chain.frames.iter().zip(chain.frames.iter().skip(1));
        let mut pairs = pairs.map(|(callee, caller)| (caller, callee));
        pairs.any(|(caller, callee)| {
            !self.calls.know_call(caller, callee)
                && self.doubt(memory, chain, (caller, callee)) == Doubt::IsAnother
        })
    }

    /// Whether every call of a stack is known, and so its caller's place.
    pub(super) fn knows_all(&self, known: &Known, frames: &[RawFrame]) -> bool {
        self.calls.know(frames, known.unchanged(frames))
    }

    /// The same of the callers in a copy, if each stands where it has called from.
    pub(super) fn knows_chain(&self, known: &Known, chain: &Chain) -> bool {
        !chain.joins() && self.knows_all(known, &chain.frames)
    }

    /// Makes every caller stand where it called from.
    pub(super) fn place_all(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        chain: &Chain,
        frames: &mut [RawFrame],
    ) -> Placed {
        if !chain.joins() && self.knows_all(known, frames) {
            return Placed::All;
        }
        let mut placed = Placed::All;
        for index in 0..frames.len() {
            let Some(callee) = frames.get(index).copied() else {
                break;
            };
            let Some(caller) = frames.get_mut(index + 1) else {
                break;
            };
            if !chain.is_later(index) && self.calls.know_call(caller, &callee) {
                continue;
            }
            // One that stands where it pushes no frame has gone on as well.
            let moved = chain.has_moved(index)
                || self.doubt(memory, chain, (caller, &callee)) == Doubt::IsWrong
                || (chain.is_inlined(index)
                    && (self.cannot_push(memory, known, caller, &callee)
                        || self.notes_elsewhere(memory, caller, &callee)));
            let is_before = || index < JUST_CALLED && self.look.is_before(caller.addr, callee.addr);
            let caller_is = match moved {
                false => Whereabouts::Standing,
                true if chain.is_alive(index) && is_before() => Whereabouts::Before,
                true => Whereabouts::Behind,
            };
            match self.place(memory, caller, &callee, chain.depth(&callee), caller_is) {
                Some(position) => caller.position = position,
                None if moved => return Placed::NotAll,
                None => placed = Placed::StandingOnly,
            }
        }
        match self.calls.know(frames, 0) {
            true => Placed::All,
            false => placed.min(Placed::StandingOnly),
        }
    }

    /// Whether a caller stands where nothing is called: it has just begun, below
    /// what is left of another call.
    pub(super) fn contradicts(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        chain: &Chain,
    ) -> bool {
        let mut pairs = chain.frames.iter().zip(chain.frames.iter().skip(1));
        let mut index = 0..;
        pairs.any(|(callee, caller)| {
            index.next().is_some_and(|index| chain.is_inlined(index))
                && !self.calls.know_call(caller, callee)
                && self.cannot_push(memory, known, caller, callee)
        })
    }

    /// From where `caller` has called `callee`, by what its bytecode says and
    /// what is known already; `depth` tells how far through C code.
    pub(super) fn place(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
        depth: Option<Depth>,
        caller_is: Whereabouts,
    ) -> Option<Position> {
        let moved = caller_is != Whereabouts::Standing;
        let Position::Instruction(now, 0) = caller.position else {
            return None;
        };
        let code = self.program.code(memory, caller.code)?;
        let to = self.program.code(memory, callee.code)?;
        let offset = code.offset_of(now)?;
        if !moved && self.program.notes(memory, caller, callee) == Noted::Callee {
            self.calls.read(caller, callee, depth);
            return Some(caller.position);
        }
        let is_only = self.calls.has_seen_many() && self.program.is_only(&to);
        // Both were alive in one copy; where other functions have that name too, one
        // of them may be left from a moment before.
        if !moved && is_only && code.calls_by_name(offset, callee.code, &to) {
            self.calls.read(caller, callee, depth);
            return Some(caller.position);
        }
        if !moved && !code.is_quiet(offset) && !self.program.calls_python(&code, offset) {
            return None;
        }
        // What lies above a caller that has gone on may be what is left of a
        // call by another one that lay there: a name tells that only if one
        // function has it.
        let mut places = Vec::new();
        if !to.is_generator() && is_only {
            places.extend(code.calls_to(callee.code, &to));
        }
        let known = self.calls.sites(caller, callee).iter();
        places.extend(known.filter_map(|site| match site {
            Position::Instruction(at, 0) => code.offset_of(*at),
            _ => None,
        }));
        // Pieces of one copy are not always copied in the order of their addresses, so
        // one that lives may have been called before as well.
        let next = |place: &&u32| code.leads_next(offset, **place);
        let mut coming: SmallVec<[u32; 4]> = match caller_is {
            Whereabouts::Before => places.iter().filter(next).copied().collect(),
            _ => SmallVec::new(),
        };
        coming.sort_unstable();
        coming.dedup();
        let (place, comes) = match coming.as_slice() {
            [] => (code.came_from(&mut places, Some(offset))?, false),
            [only] => (*only, true),
            _ => return None,
        };
        // Else it is another frame of that function, which has just begun.
        if !comes && !code.leads(place, offset) {
            return None;
        }
        let position = Position::Instruction(code.instruction_at(place), 0);
        if is_only && code.calls_by_name(place, callee.code, &to) {
            let caller = RawFrame {
                position,
                ..*caller
            };
            self.calls.read(&caller, callee, depth);
        }
        Some(position)
    }

    /// Whether every call that is not known is made where something is called
    /// that is not plain to see: a class, a decorated function, one out of a
    /// table. Both frames were alive in one copy of the data stack, mostly less than
    /// 100 ns apart, which goes wrong once in some 100,000 copies of a program
    /// that does nothing but call (measured on 3.13 to 3.15), but once in 20 where lines of
    /// memory come slowly from the thread's processor to ours. So calls that are plain to
    /// see, or noted by an instruction, are not left to that.
    pub(super) fn may_call(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        frames: &[RawFrame],
    ) -> bool {
        let mut pairs = frames.iter().zip(frames.iter().skip(1));
        pairs.all(|(callee, caller)| {
            self.calls.know_call(caller, callee)
                || (!Self::crosses(known, caller, callee)
                    && self.calls_unnamed(memory, caller, callee))
        })
    }

    /// Whether some caller, at a call that is not known, calls this one by its name
    /// elsewhere only: then it is rather that copy which is wrong.
    pub(super) fn names_elsewhere(
        &mut self,
        memory: &dyn Memory,
        chain: &Chain,
        frames: &[RawFrame],
    ) -> bool {
        let pairs = frames.iter().zip(frames.iter().skip(1));
        let mut unknown = pairs
            .enumerate()
            .filter(|(_, (callee, caller))| !self.calls.know_call(caller, callee));
        unknown.any(|(index, (callee, caller))| {
            chain.is_inlined(index) && self.program.names_elsewhere(memory, caller, callee)
        })
    }

    /// Whether some callee whose call is not known has its name in common with other
    /// functions: it may be left of a call of one of these.
    pub(super) fn may_be_left(&mut self, memory: &dyn Memory, frames: &[RawFrame]) -> bool {
        let mut pairs = frames.iter().zip(frames.iter().skip(1));
        pairs.any(|(callee, caller)| {
            let is_known = self.calls.know_call(caller, callee);
            let code = (!is_known).then(|| self.program.code(memory, callee.code));
            code.flatten()
                .is_some_and(|code| !self.program.is_only(&code))
        })
    }

    /// Whether the caller stands where no Python function is called by its name, nor has
    /// noted another one, and neither calls this one by its name elsewhere nor has noted it.
    fn calls_unnamed(&mut self, memory: &dyn Memory, caller: &RawFrame, callee: &RawFrame) -> bool {
        let Some((code, at, to)) = self.program.pair(memory, caller, callee) else {
            return false;
        };
        at.is_some_and(|at| {
            !code.is_quiet(at)
                && !self.program.calls_python(&code, at)
                && code.calls_to(callee.code, &to).next().is_none()
                && self.program.notes(memory, caller, callee) != Noted::Another
                && !self.notes_elsewhere(memory, caller, callee)
        })
    }

    /// Whether the caller stands where it has not noted this callee, but has so elsewhere.
    pub(super) fn notes_elsewhere(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> bool {
        let sites = self.calls.sites(caller, callee);
        self.program.notes_elsewhere(memory, caller, callee, sites)
    }

    /// Whether the frame stands where it asks a generator for its next value.
    pub(super) fn resumes(&mut self, memory: &dyn Memory, frame: &RawFrame) -> bool {
        let Position::Instruction(at, 0) = frame.position else {
            return false;
        };
        let code = self.program.code(memory, frame.code);
        code.is_some_and(|code| code.offset_of(at).is_some_and(|at| code.resumes(at)))
    }

    /// Whether the caller stands where it asks a generator of another function for
    /// its next value.
    pub(super) fn resumes_another(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> bool {
        let Some((code, at, to)) = self.program.pair(memory, caller, callee) else {
            return false;
        };
        at.is_some_and(|at| {
            code.resumes(at)
                && code.names_callee(at)
                && (self.program.calls_python(&code, at) || !self.calls.has_seen_many())
                && !code.calls_by_name(at, callee.code, &to)
        })
    }

    /// Whether the caller stands where it cannot call this in its own loop: to 3.12
    /// one that has just been pushed stands before its first instruction.
    pub(super) fn cannot_push(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> bool {
        let Position::Instruction(at, 0) = caller.position else {
            return false;
        };
        let Some(code) = self.program.code(memory, caller.code) else {
            return false;
        };
        let generator = !known.is_in_chunk(callee.addr);
        let Some(offset) = code.offset_of(at) else {
            return true;
        };
        !code.can_push(offset, generator)
            || self.program.notes(memory, caller, callee) == Noted::Never
    }
}
