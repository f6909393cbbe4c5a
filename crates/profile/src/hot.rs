use std::cmp::Reverse;
use std::num::NonZeroU32;

use hashbrown::HashMap;

use crate::{Frame, Profile, StackId};

/// A function, and how much time was spent in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hot {
    /// The function, standing at the line where it spent most time of its own.
    pub frame: Frame,
    /// Time with this function innermost, in nanoseconds.
    pub self_ns: u64,
    /// … of which at the line in `frame`.
    pub line_ns: u64,
    /// Time with this function anywhere in the stack, in nanoseconds. A
    /// recursion counts once for each stack, so it never exceeds the profile's.
    pub total_ns: u64,
    /// How many samples had it innermost.
    pub samples: u64,
}

#[derive(Clone, Copy, Default)]
struct Weight {
    ns: u64,
    samples: u64,
}

/// The sum of all runs, by stack.
fn own_weights(profile: &Profile) -> Vec<Weight> {
    let mut own = vec![Weight::default(); profile.stacks().len()];
    for run in profile.samples().flat_map(|(_, runs)| runs) {
        let weight = &mut own[run.stack.index()];
        weight.ns = weight.ns.saturating_add(run.weight_ns);
        weight.samples = weight.samples.saturating_add(run.count);
    }
    own
}

/// For each frame the number of its function, and each function's sums.
struct Functions {
    of_frame: Vec<usize>,
    hot: Vec<Hot>,
}

impl Functions {
    fn of(profile: &Profile) -> Self {
        let mut numbers: HashMap<Frame, usize> = HashMap::new();
        let mut hot = Vec::new();
        let of_frame = profile
            .frames()
            .map(|(_, frame)| {
                *numbers.entry(frame.function()).or_insert_with(|| {
                    hot.push(Hot {
                        frame: frame.function(),
                        self_ns: 0,
                        line_ns: 0,
                        total_ns: 0,
                        samples: 0,
                    });
                    hot.len() - 1
                })
            })
            .collect();
        Self { of_frame, hot }
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

/// Adds the total of every stack whose function is not already in it further
/// out. Walks the tree with a list instead of recursion: it may be very deep.
fn add_totals(profile: &Profile, total: &[u64], functions: &mut Functions) {
    let children = Children::of(profile);
    let frames: Vec<usize> = profile
        .stacks()
        .map(|(_, s)| functions.of_frame[s.frame.index()])
        .collect();
    let mut open = vec![0_u32; functions.hot.len()];
    let mut path: Vec<usize> = Vec::new();
    let mut next = children.first_root;
    loop {
        if let Some(at) = next {
            let function = frames[at];
            if open[function] == 0 {
                let sum = &mut functions.hot[function].total_ns;
                *sum = sum.saturating_add(total[at]);
            }
            open[function] += 1;
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

pub(crate) fn hottest(profile: &Profile, n: usize) -> Vec<Hot> {
    let own = own_weights(profile);
    let total = total_weights(profile, &own);
    let mut functions = Functions::of(profile);
    add_totals(profile, &total, &mut functions);

    let mut lines: HashMap<(usize, Option<NonZeroU32>), u64> = HashMap::new();
    for (id, stack) in profile.stacks() {
        let weight = own[id.index()];
        if weight.samples == 0 {
            continue;
        }
        let function = functions.of_frame[stack.frame.index()];
        let hot = &mut functions.hot[function];
        hot.self_ns = hot.self_ns.saturating_add(weight.ns);
        hot.samples = hot.samples.saturating_add(weight.samples);
        let line = profile.frame(stack.frame).line;
        let sum = lines.entry((function, line)).or_default();
        *sum = sum.saturating_add(weight.ns);
    }
    // Sorted, so that the answer does not depend on the map's order: the lower
    // line wins a draw.
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_unstable_by_key(|((function, line), ns)| (*function, Reverse(*ns), *line));
    lines.dedup_by_key(|((function, _), _)| *function);
    for ((function, line), ns) in lines {
        functions.hot[function].frame.line = line;
        functions.hot[function].line_ns = ns;
    }

    let mut hot = functions.hot;
    hot.retain(|h| h.samples > 0);
    let name = |h: &Hot| {
        let file = h.frame.file.map(|f| profile.string(f));
        (profile.string(h.frame.name), file, h.frame.first_line)
    };
    hot.sort_by(|a, b| {
        let by_time = (b.self_ns, b.total_ns).cmp(&(a.self_ns, a.total_ns));
        by_time.then_with(|| name(a).cmp(&name(b)))
    });
    hot.truncate(n);
    hot
}
