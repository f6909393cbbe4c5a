use std::iter::FusedIterator;

use crate::id::Handle;
use crate::interner::Interner;
use crate::{FrameId, StackId};

/// A stack: its innermost frame, and the stack that frame was called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// The stack of the caller; `None` at the root.
    pub parent: Option<StackId>,
    /// The innermost frame.
    pub frame: FrameId,
}

/// The prefix tree of all stacks, and the depth of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stacks {
    nodes: Interner<StackId, Stack>,
    depths: Vec<u32>,
}

impl Stacks {
    pub(crate) fn intern(&mut self, stack: Stack) -> StackId {
        let id = self.nodes.intern(stack);
        if id.to_index() == self.depths.len() {
            let below = stack.parent.map_or(0, |p| self.depth(p));
            self.depths.push(below.saturating_add(1));
        }
        id
    }

    pub(crate) fn get(&self, id: StackId) -> Stack {
        *self.nodes.get(id)
    }

    pub(crate) fn depth(&self, id: StackId) -> u32 {
        self.depths[id.to_index()]
    }

    /// All stacks; a parent always stands before its children.
    pub(crate) fn items(&self) -> &[Stack] {
        self.nodes.items()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.nodes.heap_bytes() + self.depths.capacity() * size_of::<u32>()
    }
}

/// The frames of a stack from the innermost to the outermost.
#[derive(Clone, Debug)]
pub struct LeafToRoot<'a> {
    stacks: &'a Stacks,
    next: Option<StackId>,
}

impl<'a> LeafToRoot<'a> {
    pub(crate) fn new(stacks: &'a Stacks, leaf: StackId) -> Self {
        Self {
            stacks,
            next: Some(leaf),
        }
    }
}

impl Iterator for LeafToRoot<'_> {
    type Item = FrameId;

    fn next(&mut self) -> Option<FrameId> {
        let stack = self.stacks.get(self.next?);
        self.next = stack.parent;
        Some(stack.frame)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.next.map_or(0, |id| self.stacks.depth(id) as usize);
        (left, Some(left))
    }
}

impl ExactSizeIterator for LeafToRoot<'_> {}
impl FusedIterator for LeafToRoot<'_> {}
