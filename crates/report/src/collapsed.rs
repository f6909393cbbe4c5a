use std::io::{self, BufWriter, Write};

use firefinch_profile::Profile;

use crate::Style;
use crate::length::LENGTHS;
use crate::tree::{NodeId, Tree};

/// Bytes of lines from which on labels are cut. A day of a program of deep recursion has
/// less.
const MAX_LEN: u64 = 1 << 30;

/// One line for each different stack, sorted frame by frame. The count is the
/// stack's time in ticks, so that a sampler that was late does not make the
/// program look faster.
pub(crate) fn write(profile: &Profile, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let mut tree = Tree::of(profile, style);
    let ticks = tree.own_ticks(profile.meta.interval_ns.get());
    for most in LENGTHS {
        if tree.len_of_lines(&ticks) > MAX_LEN {
            tree.shorten(most);
        }
    }
    let mut out = BufWriter::new(out);
    let mut lines = Lines::new(&tree, &ticks);
    while let Some((stack, count)) = lines.next_line() {
        for (at, node) in stack.iter().enumerate() {
            if at > 0 {
                out.write_all(b";")?;
            }
            out.write_all(tree.text(*node).as_bytes())?;
        }
        writeln!(out, " {count}")?;
    }
    out.flush()
}

/// The lines of a tree, one at a time.
pub(crate) struct Lines<'a> {
    tree: &'a Tree,
    /// The count of each node; one without has no line of its own.
    counts: &'a [u64],
    order: std::vec::IntoIter<NodeId>,
    /// The nodes from the root to the present one.
    path: Vec<NodeId>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(tree: &'a Tree, counts: &'a [u64]) -> Self {
        Self {
            tree,
            counts,
            order: tree.in_order().into_iter(),
            path: Vec::new(),
        }
    }

    /// The next stack, from the root on, and its count.
    pub(crate) fn next_line(&mut self) -> Option<(&[NodeId], u64)> {
        loop {
            let at = self.order.next()?;
            let parent = self.tree.nodes[at].parent;
            while self.path.last().is_some_and(|last| parent != Some(*last)) {
                self.path.pop();
            }
            self.path.push(at);
            if self.counts[at] > 0 {
                return Some((&self.path, self.counts[at]));
            }
        }
    }
}
