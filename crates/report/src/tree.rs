use std::hash::BuildHasher;

use firefinch_profile::{Frame, FrameId, Profile, ThreadId};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use inferno::flamegraph::color::Color;

use crate::Style;
use crate::color::color;
use crate::label::{frame_label, process_label, thread_label};
use crate::length::{LENGTHS, cut};
use crate::number::ticks;
use crate::origin::Origin;

/// The number of a [`Label`] in its tree.
pub(crate) type LabelId = usize;

/// The number of a [`Node`] in its tree.
pub(crate) type NodeId = usize;

/// A text that stands in the tree, and whose code it names.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// What the text without the line decides.
    pub(crate) color: Color,
}

/// Bytes of labels that are kept whole; those of a large program take less than one MiB.
/// A stack may have thousands of lines of a function with a name of some thousand
/// characters, each a label.
const WHOLE: usize = 64 << 20;

/// A label at its place: the path of labels from the root to here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) parent: Option<NodeId>,
    pub(crate) label: LabelId,
    /// Samples that end here, and the time they stand for.
    pub(crate) samples: u64,
    pub(crate) weight_ns: u64,
}

/// All stacks of a profile merged by what is shown of them: frames that bear
/// the same label under the same parents are one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) labels: Vec<Label>,
    /// A parent stands before its children.
    pub(crate) nodes: Vec<Node>,
    children: HashMap<(Option<NodeId>, LabelId), NodeId>,
}

impl Tree {
    pub(crate) fn of(profile: &Profile, style: &Style) -> Self {
        Builder::new(profile, style).build()
    }

    /// A tree with these labels and no nodes yet.
    pub(crate) fn with_labels(labels: Vec<Label>) -> Self {
        Self {
            labels,
            ..Self::default()
        }
    }

    /// A new label, whatever labels there are already.
    pub(crate) fn add_label(&mut self, label: Label) -> LabelId {
        self.labels.push(label);
        self.labels.len() - 1
    }

    /// The node of this label under this parent, made if there is none.
    pub(crate) fn child(&mut self, parent: Option<NodeId>, label: LabelId) -> NodeId {
        let nodes = &mut self.nodes;
        *self.children.entry((parent, label)).or_insert_with(|| {
            nodes.push(Node {
                parent,
                label,
                samples: 0,
                weight_ns: 0,
            });
            nodes.len() - 1
        })
    }

    /// For each node the time of the samples that end there, in ticks.
    pub(crate) fn own_ticks(&self, interval_ns: u64) -> Vec<u64> {
        let own = |node: &Node| match node.samples {
            0 => 0,
            _ => ticks(node.weight_ns, interval_ns),
        };
        self.nodes.iter().map(own).collect()
    }

    /// What is written of a node.
    pub(crate) fn text(&self, node: NodeId) -> &str {
        &self.labels[self.nodes[node].label].text
    }

    /// Adds samples that end at a node.
    pub(crate) fn add(&mut self, node: NodeId, samples: u64, weight_ns: u64) {
        let node = &mut self.nodes[node];
        node.samples = node.samples.saturating_add(samples);
        node.weight_ns = node.weight_ns.saturating_add(weight_ns);
    }

    /// How deep the deepest stack is.
    pub(crate) fn depth(&self) -> usize {
        let mut depths: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            depths.push(node.parent.map_or(1, |parent| depths[parent] + 1));
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// All nodes, each followed by those below it, siblings in the order of
    /// their labels. A parent comes before its children; no recursion.
    pub(crate) fn in_order(&self) -> Vec<NodeId> {
        let mut by_text: Vec<LabelId> = (0..self.labels.len()).collect();
        by_text.sort_by(|a, b| self.labels[*a].text.cmp(&self.labels[*b].text));
        let mut rank = vec![0; self.labels.len()];
        for (at, label) in by_text.into_iter().enumerate() {
            rank[label] = at;
        }
        // Sorted backwards, since each is put before those already there.
        let mut sorted: Vec<NodeId> = (0..self.nodes.len()).collect();
        sorted.sort_by_key(|at| std::cmp::Reverse((rank[self.nodes[*at].label], *at)));
        let mut first_root = None;
        let mut first: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        let mut next: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        for at in sorted {
            let slot = match self.nodes[at].parent {
                Some(parent) => &mut first[parent],
                None => &mut first_root,
            };
            next[at] = slot.replace(at);
        }
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut later: Vec<NodeId> = first_root.into_iter().collect();
        while let Some(at) = later.pop() {
            order.push(at);
            later.extend(next[at]);
            later.extend(first[at]);
        }
        order
    }
}

/// Merges the stacks of one profile.
struct Builder<'a> {
    profile: &'a Profile,
    style: &'a Style,
    tree: Tree,
    hasher: DefaultHashBuilder,
    by_text: HashTable<LabelId>,
    /// Bytes of labels.
    len: usize,
    by_frame: Vec<Option<LabelId>>,
}

impl<'a> Builder<'a> {
    fn new(profile: &'a Profile, style: &'a Style) -> Self {
        Self {
            profile,
            style,
            tree: Tree::default(),
            hasher: DefaultHashBuilder::default(),
            by_text: HashTable::new(),
            len: 0,
            by_frame: vec![None; profile.frames().len()],
        }
    }

    fn build(mut self) -> Tree {
        let profile = self.profile;
        // The node of each stack, under the root for which it was last asked.
        let mut node_of: Vec<Option<(Option<NodeId>, NodeId)>> = vec![None; profile.stacks().len()];
        let mut path = Vec::new();
        for (thread, root) in self.roots() {
            for run in profile.runs(thread) {
                let mut at = Some(run.stack);
                let mut node = root;
                while let Some(stack) = at {
                    if let Some((_, known)) = node_of[stack.index()].filter(|(r, _)| *r == root) {
                        node = Some(known);
                        break;
                    }
                    path.push(stack);
                    at = profile.stack(stack).parent;
                }
                while let Some(stack) = path.pop() {
                    let label = self.label(profile.stack(stack).frame);
                    let child = self.tree.child(node, label);
                    node_of[stack.index()] = Some((root, child));
                    node = Some(child);
                }
                if let Some(node) = node {
                    self.tree.add(node, run.count, run.weight_ns);
                }
            }
        }
        self.tree
    }

    /// Every thread that has samples, and the node its stacks stand on: none,
    /// or its process where there are several, or itself if asked for.
    /// Threads with the same root follow one another.
    fn roots(&mut self) -> Vec<(ThreadId, Option<NodeId>)> {
        let profile = self.profile;
        let seen = || {
            profile
                .threads()
                .filter(|(id, _)| !profile.runs(*id).is_empty())
        };
        let mut processes: Vec<_> = seen().map(|(_, t)| t.process).collect();
        processes.sort();
        processes.dedup();
        let mut roots: Vec<_> = seen()
            .map(|(id, thread)| {
                let mut root = None;
                if processes.len() > 1 || self.style.process_roots {
                    let text = process_label(profile.process(thread.process));
                    root = Some(self.root(root, text));
                }
                if self.style.thread_roots {
                    root = Some(self.root(root, thread_label(thread)));
                }
                (id, root)
            })
            .collect();
        roots.sort_by_key(|(_, root)| *root);
        roots
    }

    fn root(&mut self, parent: Option<NodeId>, text: String) -> NodeId {
        let origin = Origin::Label;
        let color = color(origin, &text);
        let label = self.intern(Label {
            text,
            origin,
            color,
        });
        self.tree.child(parent, label)
    }

    fn label(&mut self, frame: FrameId) -> LabelId {
        if let Some(label) = self.by_frame[frame.index()] {
            return label;
        }
        let profile = self.profile;
        let whole = profile.frame(frame);
        let function = Frame {
            first_line: None,
            ..whole.function()
        };
        let origin = Origin::of(profile, whole);
        let label = self.intern(Label {
            text: frame_label(profile, self.style, whole),
            origin,
            color: color(origin, &frame_label(profile, self.style, &function)),
        });
        self.by_frame[frame.index()] = Some(label);
        label
    }

    fn intern(&mut self, mut label: Label) -> LabelId {
        if self.len.saturating_add(label.text.len()) > WHOLE {
            let [.., shortest] = LENGTHS;
            label.text = cut(&label.text, shortest).into_owned();
        }
        let hash = |text: &String| self.hasher.hash_one(text);
        let labels = &self.tree.labels;
        let at = hash(&label.text);
        if let Some(known) = self.by_text.find(at, |id| labels[*id].text == label.text) {
            return *known;
        }
        let id = labels.len();
        self.by_text
            .insert_unique(at, id, |id| hash(&labels[*id].text));
        self.len = self.len.saturating_add(label.text.len());
        self.tree.add_label(label)
    }
}
