use std::cmp::Reverse;
use std::num::NonZeroU32;

use hashbrown::HashMap;

use crate::times::{Groups, own_weights};
use crate::{Frame, Profile, Times};

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

impl Hot {
    /// A function of which the hottest line is yet to be found.
    fn of(times: &Times) -> Self {
        Self {
            frame: times.frame,
            self_ns: times.own_ns,
            line_ns: 0,
            total_ns: times.total_ns,
            samples: times.samples,
        }
    }
}

pub(crate) fn hottest(profile: &Profile, n: usize) -> Vec<Hot> {
    let own = own_weights(profile);
    let functions = Groups::of(profile, &own, Frame::function);
    let mut hot: Vec<Hot> = functions.times.iter().map(Hot::of).collect();

    let mut lines: HashMap<(usize, Option<NonZeroU32>), u64> = HashMap::new();
    for (id, stack) in profile.stacks() {
        let weight = own[id.index()];
        if weight.samples == 0 {
            continue;
        }
        let function = functions.of_frame[stack.frame.index()];
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
        hot[function].frame.line = line;
        hot[function].line_ns = ns;
    }

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
