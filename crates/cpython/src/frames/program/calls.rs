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

impl Calls {
    /// Bytes that they take, about: the sets' nodes are two thirds full, and have pointers.
    pub(super) fn weight(&self) -> usize {
        let sets = [&self.labels, &self.quiet, &self.outside];
        let in_sets = sets.iter().map(|set| set.len()).sum::<usize>();
        self.instructions.len() * size_of::<CallInstruction>()
            + (2 * in_sets + self.starts.len()) * size_of::<u32>()
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
}
