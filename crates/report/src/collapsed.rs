use std::io::{self, BufWriter, Write};

use firefinch_profile::Profile;

use crate::Style;
use crate::tree::Tree;

/// One line for each different stack, sorted frame by frame. The count is the
/// stack's time in ticks, so that a sampler that was late does not make the
/// program look faster.
pub(crate) fn write(profile: &Profile, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let tree = Tree::of(profile, style);
    let ticks = tree.own_ticks(profile.meta.interval_ns.get());
    let mut out = BufWriter::new(out);
    let mut lines = Lines::new(&tree, &ticks);
    while let Some((stack, count)) = lines.next_line() {
        writeln!(out, "{stack} {count}")?;
    }
    out.flush()
}

/// The lines of a tree, one at a time: a line is as long as its stack is deep,
/// and all of them together need not fit into memory.
pub(crate) struct Lines<'a> {
    tree: &'a Tree,
    /// The count of each node; one without has no line of its own.
    counts: &'a [u64],
    order: std::vec::IntoIter<usize>,
    text: String,
    /// The nodes from the root to the present one, and how long `text` was before each.
    path: Vec<(usize, usize)>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(tree: &'a Tree, counts: &'a [u64]) -> Self {
        Self {
            tree,
            counts,
            order: tree.in_order().into_iter(),
            text: String::new(),
            path: Vec::new(),
        }
    }

    /// The next stack and its count.
    pub(crate) fn next_line(&mut self) -> Option<(&str, u64)> {
        loop {
            let at = self.order.next()?;
            let node = self.tree.nodes[at];
            while let Some((last, len)) = self.path.last().copied() {
                if node.parent == Some(last) {
                    break;
                }
                self.text.truncate(len);
                self.path.pop();
            }
            self.path.push((at, self.text.len()));
            if self.path.len() > 1 {
                self.text.push(';');
            }
            self.text.push_str(&self.tree.labels[node.label].text);
            if self.counts[at] > 0 {
                return Some((&self.text, self.counts[at]));
            }
        }
    }
}
