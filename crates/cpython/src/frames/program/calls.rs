//! What bytecode says about the calls in it, without running it: which
//! instructions call, and by which name each finds what it calls.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::operators::Methods;

/// Where a value on the stack was loaded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Symbol {
    /// `co_names`: a global, a name of the scope, or an attribute.
    Name(u32),
    /// `co_varnames`.
    Local(u32),
    /// `co_cellvars`, then `co_freevars`.
    Cell(u32),
    /// `co_consts`: a code object of which a function was made on the spot.
    Code(u32),
    /// The method that a class has for its elements, from 3.11 on.
    Subscript,
}

/// An instruction that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallInstruction {
    /// In bytes, like all offsets here.
    pub(super) offset: u32,
    /// Where the frame is said to stand while a call that begins no loop of its
    /// own lasts: to 3.10 and from 3.13 on at the instruction, in 3.11 and 3.12
    /// at the last code unit before the next.
    pub(super) stands: u32,
    /// What it calls, where that is plain to see.
    pub(super) callee: Option<Symbol>,
    /// An attribute is loaded, or an element, which is a call if it is a property, or if
    /// its class has methods for that.
    pub(super) is_load: bool,
    /// It asks a generator for its next value: the one that a call of `callee`
    /// made, where that is plain to see.
    pub(super) resumes: bool,
    /// What it notes of whom it calls.
    pub(super) cache: Option<Cache>,
}

/// What an instruction notes behind itself of the function that it has called, from 3.12 on
/// (`Include/internal/pycore_code.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// Its version, if it is called as most Python functions are (`_PyCallCache`): that of
    /// the code object which it was made of (`MAKE_FUNCTION`, `Python/bytecodes.c`). The
    /// instruction's general form, whose number this is, takes no note.
    Version { general: u8 },
    /// Itself, if it is called to load an attribute (`descr` in `_PyLoadMethodCache`).
    Function,
}

impl Cache {
    /// Where, from the beginning of the instruction: behind that and its counter, and the
    /// versions of a type and of its keys.
    pub(super) fn offset(self) -> u32 {
        match self {
            Self::Version { .. } => 4,
            Self::Function => 12,
        }
    }

    pub(super) fn end(self) -> u32 {
        match self {
            Self::Version { .. } => self.offset() + 4,
            Self::Function => self.offset() + 8,
        }
    }
}

/// The calls of a code object and the places that jumps lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// In ascending order.
    pub(super) instructions: Vec<CallInstruction>,
    /// Offsets that are reached otherwise than from the instruction before.
    pub(super) labels: BTreeSet<u32>,
    /// From where to where jumps lead, from 3.11 on.
    pub(super) jumps: Vec<(u32, u32)>,
    /// Offsets of instructions that the next one does not follow, and of those among
    /// them that nothing in the function follows; from 3.11 on.
    pub(super) stops: BTreeSet<u32>,
    pub(super) leaves: BTreeSet<u32>,
    /// Labels that no jump leads to: an exception may, or who asks a generator for more.
    pub(super) handlers: BTreeSet<u32>,
    /// Offsets of instructions that never call a Python function by themselves:
    /// loads, stores, jumps and the like.
    pub(super) quiet: BTreeSet<u32>,
    /// Offsets of those that may, but never in the loop that runs them.
    pub(super) outside: BTreeSet<u32>,
    /// Offsets of those that call certain methods only, if any, and which; to 3.10.
    pub(super) operators: Vec<(u32, Methods)>,
    /// Where instructions begin, if a frame may stand behind that.
    pub(super) starts: Vec<u32>,
}

/// Pieces of code that are gone through to find a way: a function with more has one
/// rather than not.
const MAX_PIECES: usize = 256;

impl Calls {
    /// Bytes that they take, about: the sets' nodes are two thirds full, and have pointers.
    pub(super) fn weight(&self) -> usize {
        let sets = [
            &self.labels,
            &self.handlers,
            &self.quiet,
            &self.outside,
            &self.stops,
            &self.leaves,
        ];
        let in_sets = sets.iter().map(|set| set.len()).sum::<usize>();
        self.instructions.len() * size_of::<CallInstruction>()
            + (2 * (in_sets + self.jumps.len()) + self.starts.len()) * size_of::<u32>()
    }

    /// The instruction at which a frame stands that is said to stand there.
    pub(super) fn instruction(&self, offset: u32) -> u32 {
        let behind = self.starts.partition_point(|start| *start <= offset);
        let start = behind.checked_sub(1).and_then(|at| self.starts.get(at));
        start.copied().unwrap_or(offset)
    }

    /// Whether whoever stands at `to` has come from `from` without a jump.
    pub(super) fn is_straight(&self, from: u32, to: u32) -> bool {
        from < to && self.labels.range(from + 1..=to).next().is_none()
    }

    /// Whether whoever stands at `to` may have been at `from` before.
    pub(super) fn leads(&self, from: u32, to: u32) -> bool {
        // An exception may come from anywhere.
        let handled = |begin| self.handlers.range(begin + 1..).copied();
        self.reaches(from, to, |_| None, handled)
    }

    /// Whether the next call made by whoever stands at `from` may be the one at `to`.
    pub(super) fn leads_next(&self, from: u32, to: u32) -> bool {
        let now = self.instruction(from);
        let next_call = |begin| {
            let next = self
                .instructions
                .partition_point(|call| call.offset < begin);
            let mut next = self.instructions.get(next..)?.iter();
            let next = next.find(|call| !call.is_load && call.offset != now)?;
            Some(next.stands)
        };
        self.reaches(from, to, next_call, |_| std::iter::empty())
    }

    /// Whether some way leads from `from` to `to`: pieces of code without a jump, each of
    /// which ends at `end` of where it begins, if not before by itself. From each, jumps
    /// lead to others, and `besides`.
    fn reaches<Labels: Iterator<Item = u32>>(
        &self,
        from: u32,
        to: u32,
        end: impl Fn(u32) -> Option<u32>,
        besides: impl Fn(u32) -> Labels,
    ) -> bool {
        let from = self.instruction(from);
        if from == self.instruction(to) {
            return true;
        }
        if self.leaves.contains(&from) {
            return false;
        }
        let mut pieces = SmallVec::<[u32; 8]>::from_slice(&[from]);
        for next in 0..MAX_PIECES {
            let Some(begin) = pieces.get(next).copied() else {
                return false;
            };
            let stop = self.stops.range(begin..).next().copied();
            let last = [stop, end(begin)].into_iter().flatten().min();
            let last = last.unwrap_or(u32::MAX);
            if (begin..=last).contains(&to) {
                return true;
            }
            let jumps = self.jumps.partition_point(|(at, _)| *at < begin);
            let jumps = self.jumps.get(jumps..).unwrap_or_default().iter();
            let jumps = jumps.take_while(|(at, _)| *at <= last).map(|(_, to)| *to);
            // What lies in this piece is gone through already.
            let others = jumps.chain(besides(begin));
            for label in others.filter(|label| !(begin..=last).contains(label)) {
                if pieces.contains(&label) {
                    continue;
                }
                if pieces.len() == MAX_PIECES {
                    return true;
                }
                pieces.push(label);
            }
        }
        true
    }

    /// Whether whoever stands at `to` must have been at `from` before: all jumps to
    /// what lies between come from between.
    pub(super) fn passes(&self, from: u32, to: u32) -> bool {
        let is_between = |label: &u32| from < *label && label <= &to;
        let inside = from..=to;
        let mut jumps = self.jumps.iter().filter(|(_, label)| is_between(label));
        from <= to
            && jumps.all(|(at, _)| inside.contains(at))
            && !self.handlers.iter().any(is_between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place is left behind by going on, and come back to by jumps back only; it is on
    /// the way to another one if nothing leads around it.
    #[test]
    fn what_leads_where() {
        // if: 10 → 20; loop: 30 → 60 to leave, 50 → 30 to repeat, within it if: 36 → 44;
        // 78 returns, what handles exceptions begins at 80 and goes back to 60.
        let jumps = vec![(10, 20), (30, 60), (36, 44), (50, 30), (90, 60)];
        let stops = [50, 78, 90];
        let ends = [52, 80, 92];
        let calls = Calls {
            labels: jumps.iter().map(|(_, to)| *to).chain(ends).collect(),
            handlers: BTreeSet::from(ends),
            jumps,
            stops: BTreeSet::from(stops),
            leaves: BTreeSet::from([78]),
            ..Calls::default()
        };
        assert!(calls.leads(12, 20) && !calls.leads(20, 12));
        assert!(calls.leads(46, 32) && calls.leads(46, 46) && !calls.leads(46, 28));
        assert!(!calls.leads(62, 46) && calls.leads(82, 62) && !calls.leads(82, 46));
        assert!(calls.passes(4, 20) && calls.passes(10, 24) && !calls.passes(12, 24));
        assert!(calls.passes(32, 48) && !calls.passes(38, 48) && calls.passes(38, 42));
        // Who returns goes nowhere else, nor does one that leaves the loop come back by it.
        assert!(!calls.leads(78, 82) && !calls.leads(78, 60) && calls.leads(78, 78));
        // From the handler to behind the loop.
        assert!(!calls.passes(24, 62) && !calls.passes(40, 10));
    }

    /// However many labels there are, few are gone through.
    #[test]
    fn many_labels_take_no_time() {
        let calls = Calls {
            handlers: (2..400_000).step_by(2).collect(),
            stops: (0..400_000).step_by(2).collect(),
            ..Calls::default()
        };
        assert!(calls.leads(100, 50));
    }

    /// What is called next is that to which code leads without another call: behind a
    /// jump, or a call in which one stands now, but not behind the next one.
    #[test]
    fn what_is_called_next() {
        let call = |offset| CallInstruction {
            offset,
            stands: offset + 6,
            callee: None,
            is_load: false,
            resumes: false,
            cache: None,
        };
        // Calls at 10, 30 and 50, a branch 20 → 40, a loop 60 → 0; 90 returns, called at 80.
        let calls = Calls {
            instructions: [10, 30, 50, 80].map(call).into(),
            jumps: vec![(20, 40), (60, 0), (62, 70)],
            labels: [0, 40, 70, 64].into(),
            handlers: [64].into(),
            stops: [60, 90].into(),
            leaves: [90].into(),
            starts: (0..100).step_by(10).collect(),
            ..Calls::default()
        };
        assert!(calls.leads_next(0, 16) && !calls.leads_next(0, 36));
        // From within the call at 10: both ways, but not both calls.
        assert!(calls.leads_next(16, 36) && calls.leads_next(16, 56));
        assert!(!calls.leads_next(22, 16) && !calls.leads_next(40, 86));
        // Around the loop, not into what handles exceptions, nor from a return.
        assert!(calls.leads_next(60, 16) && !calls.leads_next(60, 86));
        assert!(!calls.leads_next(90, 16) && calls.leads_next(70, 86));
    }
}
