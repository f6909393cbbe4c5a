//! What bytecode says about the calls in it, without running it: which
//! instructions call, and by which name each finds what it calls.

use std::collections::BTreeSet;

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
    /// An attribute is loaded, which is a call if it is a property.
    pub(super) is_load: bool,
    /// It asks a generator for its next value: the one that a call of `callee`
    /// made, where that is plain to see.
    pub(super) resumes: bool,
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
    /// Labels that no jump leads to: an exception may.
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

/// Loops within one another that are gone through: more than a function can have
/// (`CO_MAXBLOCKS`, `Include/cpython/code.h`).
const MAX_LOOPS: usize = 32;

impl Calls {
    /// Bytes that they take, about: the sets' nodes are two thirds full, and have pointers.
    pub(super) fn weight(&self) -> usize {
        let sets = [&self.labels, &self.handlers, &self.quiet, &self.outside];
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

    /// Whether whoever stands at `to` may have been at `from` before: what lies before it
    /// is reached by jumps back only.
    pub(super) fn leads(&self, from: u32, to: u32) -> bool {
        let mut first = from;
        for _ in 0..MAX_LOOPS {
            if first <= to {
                return true;
            }
            let back = self.jumps.iter().filter(|(at, _)| *at >= first);
            match back.map(|(_, label)| *label).min() {
                Some(label) if label < first => first = label,
                _ => return false,
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
        // what handles exceptions begins at 80 and goes back to 60.
        let jumps = vec![(10, 20), (30, 60), (36, 44), (50, 30), (90, 60)];
        let ends = [52, 80, 92];
        let calls = Calls {
            labels: jumps.iter().map(|(_, to)| *to).chain(ends).collect(),
            handlers: BTreeSet::from(ends),
            jumps,
            ..Calls::default()
        };
        assert!(calls.leads(12, 20) && !calls.leads(20, 12));
        assert!(calls.leads(46, 32) && calls.leads(46, 46) && !calls.leads(46, 28));
        assert!(!calls.leads(62, 46) && calls.leads(82, 62) && !calls.leads(82, 46));
        assert!(calls.passes(4, 20) && calls.passes(10, 24) && !calls.passes(12, 24));
        assert!(calls.passes(32, 48) && !calls.passes(38, 48) && calls.passes(38, 42));
        // From the handler to behind the loop.
        assert!(!calls.passes(24, 62) && !calls.passes(40, 10));
    }
}
