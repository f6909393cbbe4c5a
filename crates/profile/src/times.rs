use hashbrown::HashMap;

use crate::{Frame, Profile, StackId};

/// A group of frames, such as a function, and how much time was spent in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// What the frames of the group have in common.
    pub frame: Frame,
    /// Time with one of them innermost, in nanoseconds.
    pub own_ns: u64,
    /// Time with one of them anywhere in the stack, in nanoseconds. A recursion
    /// counts once for each stack, so it never exceeds the profile's.
    pub total_ns: u64,
    /// How many samples had one of them innermost.
    pub samples: u64,
}

/// Time that a stack was innermost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weight {
    pub(crate) ns: u64,
    pub(crate) samples: u64,
}

/// The sum of all runs, by stack.
pub(crate) fn own_weights(profile: &Profile) -> Vec<Weight> {
    let mut own = vec![Weight::default(); profile.stacks().len()];
    for run in profile.samples().flat_map(|(_, runs)| runs) {
        let weight = &mut own[run.stack.index()];
        weight.ns = weight.ns.saturating_add(run.weight_ns);
        weight.samples = weight.samples.saturating_add(run.count);
    }
    own
}

/// The groups of a profile's frames, and each group's sums.
pub(crate) struct Groups {
    /// The number of each frame's group.
    pub(crate) of_frame: Vec<usize>,
    pub(crate) times: Vec<Times>,
}

impl Groups {
    /// Groups the frames for which `key` is the same.
    pub(crate) fn of(profile: &Profile, own: &[Weight], key: impl Fn(Frame) -> Frame) -> Self {
        let mut numbers: HashMap<Frame, usize> = HashMap::new();
        let mut times = Vec::new();
        let number = |(_, frame): (_, &Frame)| {
            let frame = key(*frame);
            *numbers.entry(frame).or_insert_with(|| {
                times.push(Times {
                    frame,
                    own_ns: 0,
                    total_ns: 0,
                    samples: 0,
                });
                times.len() - 1
            })
        };
        let of_frame = profile.frames().map(number).collect();
        let mut groups = Self { of_frame, times };
        for (id, stack) in profile.stacks() {
            let weight = own[id.index()];
            let times = &mut groups.times[groups.of_frame[stack.frame.index()]];
            times.own_ns = times.own_ns.saturating_add(weight.ns);
            times.samples = times.samples.saturating_add(weight.samples);
        }
        add_totals(profile, &total_weights(profile, own), &mut groups);
        groups
    }
}

/// Time with each stack or one called from it innermost.
fn total_weights(profile: &Profile, own: &[Weight]) -> Vec<u64> {
    let mut total: Vec<u64> = own.iter().map(|w| w.ns).collect();
    let parents: Vec<Option<StackId>> = profile.stacks().map(|(_, s)| s.parent).collect();
    // Parents stand before their children, so backwards each sum is complete
    // when it is handed up.
    for (at, parent) in parents.iter().enumerate().rev() {
        if let Some(parent) = parent {
            let sum = total[parent.index()].saturating_add(total[at]);
            total[parent.index()] = sum;
        }
    }
    total
}

/// For each stack its first child and its next sibling, and the roots' first.
struct Children {
    first_root: Option<usize>,
    first: Vec<Option<usize>>,
    next: Vec<Option<usize>>,
}

impl Children {
    fn of(profile: &Profile) -> Self {
        let len = profile.stacks().len();
        let mut children = Self {
            first_root: None,
            first: vec![None; len],
            next: vec![None; len],
        };
        for (id, stack) in profile.stacks() {
            let first = match stack.parent {
                Some(parent) => &mut children.first[parent.index()],
                None => &mut children.first_root,
            };
            children.next[id.index()] = first.replace(id.index());
        }
        children
    }
}

/// Adds the total of every stack whose group is not already in it further
/// out. Walks the tree with a list instead of recursion: it may be very deep.
fn add_totals(profile: &Profile, total: &[u64], groups: &mut Groups) {
    let children = Children::of(profile);
    let frames: Vec<usize> = profile
        .stacks()
        .map(|(_, s)| groups.of_frame[s.frame.index()])
        .collect();
    let mut open = vec![0_u32; groups.times.len()];
    let mut path: Vec<usize> = Vec::new();
    let mut next = children.first_root;
    loop {
        if let Some(at) = next {
            let group = frames[at];
            if open[group] == 0 {
                let sum = &mut groups.times[group].total_ns;
                *sum = sum.saturating_add(total[at]);
            }
            open[group] += 1;
            path.push(at);
            next = children.first[at];
        } else if let Some(at) = path.pop() {
            open[frames[at]] -= 1;
            next = children.next[at];
        } else {
            return;
        }
    }
}
