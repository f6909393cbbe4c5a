use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::color::color;
use crate::grouped;
use crate::origin::Origin;
use crate::tree::{Label, LabelId, NodeId, Tree};

/// The deepest stack that is drawn whole. A frame is 16 pixels high, so this
/// makes a picture of about 5,000: a few screens, which can be scrolled through.
pub(crate) const WHOLE: usize = 300;

/// Of a deeper stack, how many of the outermost frames are drawn …
const HEAD: usize = 200;

/// … and how many of the innermost. Between them stands one frame that says
/// how many were left out. Both ends matter: one tells how the recursion was
/// entered, the other what it does.
const TAIL: usize = WHOLE - HEAD - 1;

/// A place where frames were left out.
struct Gap {
    fewest: usize,
    most: usize,
    /// The last node left out of the deepest stack.
    end: NodeId,
}

/// The tree with the middle of very deep stacks left out. Every stack keeps
/// its time, so that all widths remain true.
pub(crate) fn elide(tree: &Tree) -> Cow<'_, Tree> {
    if tree.depth() <= WHOLE {
        return Cow::Borrowed(tree);
    }
    let order = tree.in_order();
    let mut path: Vec<NodeId> = Vec::new();
    let mut drawn: Vec<NodeId> = Vec::new();
    let mut result = Tree::with_labels(tree.labels.clone());
    // By the innermost node of the head; sorted, so that labels come in order.
    let mut gaps: BTreeMap<NodeId, (LabelId, Gap)> = BTreeMap::new();
    for at in order {
        let node = tree.nodes[at];
        while path.last().is_some_and(|last| node.parent != Some(*last)) {
            path.pop();
        }
        path.push(at);
        drawn.truncate(path.len() - 1);
        if path.len() <= WHOLE {
            let child = result.child(drawn.last().copied(), node.label);
            drawn.push(child);
            result.add(child, node.samples, node.weight_ns);
        } else if node.samples > 0 {
            let head = drawn[HEAD - 1];
            let left_out = &path[HEAD..path.len() - TAIL];
            let Some(end) = left_out.last().copied() else {
                continue;
            };
            let count = left_out.len();
            let (label, gap) = gaps.entry(head).or_insert_with(|| {
                let label = result.add_label(Label {
                    text: String::new(),
                    origin: Origin::Label,
                    color: color(Origin::Label, ""),
                });
                let gap = Gap {
                    fewest: count,
                    most: count,
                    end,
                };
                (label, gap)
            });
            gap.fewest = gap.fewest.min(count);
            if count > gap.most {
                gap.most = count;
                gap.end = end;
            }
            let mut child = result.child(Some(head), *label);
            for inner in &path[path.len() - TAIL..] {
                child = result.child(Some(child), tree.nodes[*inner].label);
            }
            result.add(child, node.samples, node.weight_ns);
        }
    }
    for (label, gap) in gaps.values() {
        result.labels[*label].text = describe(tree, gap);
    }
    Cow::Owned(result)
}

/// `(19,701 frames not drawn, mostly walk (tree.py:8))`
fn describe(tree: &Tree, gap: &Gap) -> String {
    let most = grouped(gap.most as u64);
    let frames = if gap.fewest == gap.most {
        let s = if gap.most == 1 { "" } else { "s" };
        format!("{most} frame{s}")
    } else {
        format!("{} to {most} frames", grouped(gap.fewest as u64))
    };
    let mut counts: HashMap<LabelId, usize> = HashMap::new();
    let mut at = Some(gap.end);
    for _ in 0..gap.most {
        let Some(node) = at.map(|at| tree.nodes[at]) else {
            break;
        };
        *counts.entry(node.label).or_default() += 1;
        at = node.parent;
    }
    let text = |label: LabelId| &tree.labels[label].text;
    let usual = counts.into_iter().find(|(_, count)| count * 2 > gap.most);
    match usual {
        Some((label, _)) => format!("({frames} not drawn, mostly {})", text(label)),
        None => format!("({frames} not drawn)"),
    }
}
