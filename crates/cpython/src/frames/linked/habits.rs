//! What is known of the calls a program makes.

use firefinch_memory::RemoteAddr;
use hashbrown::{HashMap, HashSet};

use super::chain::{Observed, Order, Seen};
use crate::frames::{Position, RawFrame};

/// The caller's code object and instruction, and the callee's code object.
pub(super) type Call = (RemoteAddr, Position, RemoteAddr);

/// The calls that are believed, and what speaks for those that are not yet.
#[derive(Debug, Default)]
pub(super) struct Habits {
    believed: HashSet<Call>,
    /// Calls that came to be.
    learnt: u64,
    /// Where a code object is believed to call another.
    places: HashMap<(RemoteAddr, RemoteAddr), Vec<Position>>,
    /// The places that call a Python function by its name, and so no other.
    direct: HashSet<(RemoteAddr, Position)>,
    /// How often calls of the pairs that are watched were seen alive.
    living: HashMap<Call, u32>,
    /// The pairs of code objects between which a call is in doubt, and how
    /// often one was seen to call the other from anywhere.
    watched: HashMap<(RemoteAddr, RemoteAddr), u32>,
    /// How often each callee was seen alive below anybody, if it is watched.
    callees: HashMap<RemoteAddr, u32>,
    /// What looks at calls alone have found.
    observed: HashMap<Call, Tries>,
    /// How often callees stood below instructions that call nobody by themselves,
    /// and below others (`gone`).
    intruders: HashMap<RemoteAddr, Tries>,
    /// The last chain, oldest frame first, and for how many looks each frame
    /// has stood there.
    last: Vec<(RawFrame, u32)>,
}

/// How often a call stood in either order, and how often it did not.
#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    same: u32,
    reversed: u32,
    gone: u32,
}

impl Tries {
    fn add(&mut self, stands: bool, order: Order) {
        let times = match (stands, order) {
            (false, _) => &mut self.gone,
            (true, Order::Same) => &mut self.same,
            (true, Order::Reversed) => &mut self.reversed,
        };
        *times = times.saturating_add(1);
    }

    /// Whether it stood in both orders, and one time for `part` times that it did not.
    fn are_at_least(&self, part: u32) -> bool {
        let stood = self.same.saturating_add(self.reversed);
        self.same.min(self.reversed) >= STOOD && stood.saturating_mul(part) >= self.gone
    }
}

/// What is thought of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The program makes it.
    Made,
    /// It joins two moments.
    Torn,
    /// Not known yet.
    Open,
}

/// Remembered before starting anew; a large program has some ten thousand.
const MAX_KNOWN: usize = 1 << 18;
/// Looks in a row.
const STEADY: u32 = 6;
/// Times that a pair is seen before its calls are judged.
const ENOUGH: u32 = 16;
/// A call is made if it is at least this part of its pair's,
const USUAL_PART: u32 = 4;
/// or this part of so many: what a function does now and then.
const SELDOM_PART: u32 = 8;
const MANY: u32 = 64;
/// So many times and more than half of the pair's are enough without that.
const CLEAR: u32 = 4;
/// It is torn if it is less than this part.
const RARE_PART: u32 = 16;

/// Times that a call must have stood in each order.
const STOOD: u32 = 2;

pub(super) fn call(caller: &RawFrame, callee: &RawFrame) -> Call {
    (caller.code, caller.position, callee.code)
}

/// Whether `some` of `all` are too many to be chance.
fn is_part(some: u32, all: u32) -> bool {
    let part = if all < MANY { USUAL_PART } else { SELDOM_PART };
    some.saturating_mul(part) >= all
}

impl Habits {
    /// Begins a new series of looks.
    pub(super) fn begin(&mut self) {
        self.last.clear();
    }

    /// Whether the bytecode names what is called there.
    pub(super) fn is_named(&self, caller: &RawFrame) -> bool {
        self.direct.contains(&(caller.code, caller.position))
    }

    /// How many calls have come to be believed.
    pub(super) fn learnt(&self) -> u64 {
        self.learnt
    }

    pub(super) fn believes(&self, call: &Call) -> bool {
        self.believed.contains(call)
    }

    /// Believes a call from now on.
    pub(super) fn believe(&mut self, call: Call) {
        if self.believed.len() >= MAX_KNOWN {
            *self = Self::default();
        }
        if self.believed.insert(call) {
            self.learnt = self.learnt.wrapping_add(1);
            self.places
                .entry((call.0, call.2))
                .or_default()
                .push(call.1);
        }
    }

    /// Believes a call that is plain to see in the bytecode.
    pub(super) fn believe_named(&mut self, call: Call) {
        self.believe(call);
        self.direct.insert((call.0, call.1));
    }

    /// Where `caller` is believed to call `callee`.
    pub(super) fn places(&self, caller: RemoteAddr, callee: RemoteAddr) -> &[Position] {
        self.places
            .get(&(caller, callee))
            .map_or(&[], Vec::as_slice)
    }

    /// What is thought of a call that is not believed.
    pub(super) fn judge(&self, call: &Call) -> Judgement {
        if self.direct.contains(&(call.0, call.1)) {
            return Judgement::Torn;
        }
        let pair = self.watched.get(&(call.0, call.2)).copied().unwrap_or(0);
        let living = self.living.get(call).copied().unwrap_or(0);
        if living >= CLEAR && living.saturating_mul(2) > pair {
            Judgement::Made
        } else if pair < ENOUGH {
            Judgement::Open
        } else if is_part(living, pair) {
            Judgement::Made
        } else if living.saturating_mul(RARE_PART) < pair {
            Judgement::Torn
        } else {
            Judgement::Open
        }
    }

    /// Watches what calls there are between two code objects.
    pub(super) fn watch(&mut self, call: &Call) {
        if self.watched.len() >= MAX_KNOWN || self.living.len() >= MAX_KNOWN {
            self.watched.clear();
            self.living.clear();
            self.callees.clear();
        }
        self.watched.entry((call.0, call.2)).or_default();
        self.callees.entry(call.2).or_default();
    }

    /// Whether a call is a large part of all that were seen of its callee.
    pub(super) fn is_usual(&self, call: &Call) -> bool {
        let living = self.living.get(call).copied().unwrap_or(0);
        let callee = self.callees.get(&call.2).copied().unwrap_or(0);
        is_part(living, callee)
    }

    /// Believes a call that stood a few times when it was looked at alone, and
    /// no less often than not: what comes and goes is met so by chance only.
    /// `is_quiet` says that its instruction calls nobody by itself.
    pub(super) fn observe(&mut self, seen: &Observed, order: Order, is_quiet: bool) {
        if self.observed.len() >= MAX_KNOWN {
            self.observed.clear();
            self.intruders.clear();
        }
        if seen.stands {
            let tries = self.intruders.entry(seen.callee.code).or_default();
            tries.add(is_quiet, order);
        }
        let call = call(&seen.caller, &seen.callee);
        let tries = self.observed.entry(call).or_default();
        tries.add(seen.stands, order);
        if tries.are_at_least(1) {
            self.believe(call);
        }
    }

    /// Whether a function runs where its callers stand at any instruction: trace
    /// functions, `__del__`, weak references' callbacks, signal handlers.
    pub(super) fn is_intruder(&self, callee: RemoteAddr) -> bool {
        let tries = self.intruders.get(&callee);
        tries.is_some_and(|tries| tries.are_at_least(USUAL_PART))
    }

    /// Counts the calls of a chain that was copied at once, newest frame
    /// first: those whose callee was executing just before its caller was copied.
    pub(super) fn count(&mut self, chain: &[Seen]) {
        if self.watched.is_empty() {
            return;
        }
        for pair in chain.windows(2) {
            let (callee, caller) = (&pair[0], &pair[1]);
            let call = call(&caller.frame, &callee.frame);
            if callee.lives
                && caller.lives
                && let Some(times) = self.watched.get_mut(&(call.0, call.2))
            {
                *times = times.saturating_add(1);
                let times = self.living.entry(call).or_default();
                *times = times.saturating_add(1);
            }
            if callee.lives
                && caller.lives
                && let Some(times) = self.callees.get_mut(&call.2)
            {
                *times = times.saturating_add(1);
            }
        }
    }

    /// Takes in the next look of a series, and believes what stood long enough.
    pub(super) fn look(&mut self, chain: &[Seen]) {
        let mut standing = true;
        let mut next = Vec::with_capacity(chain.len());
        let mut caller: Option<RawFrame> = None;
        let mut steady = Vec::new();
        for (index, seen) in chain.iter().rev().enumerate() {
            let frame = seen.frame;
            let before = self.last.get(index);
            let same = |before: &&(RawFrame, u32)| {
                before.0.addr == frame.addr && before.0.code == frame.code && seen.lives
            };
            let looks = match before.filter(same) {
                Some((_, looks)) if standing => looks + 1,
                _ => 1,
            };
            if looks >= STEADY
                && let Some(caller) = caller
            {
                steady.push(call(&caller, &frame));
            }
            standing &= before.is_some_and(|before| before.0 == frame);
            caller = Some(frame);
            next.push((frame, looks));
        }
        self.last = next;
        for call in steady {
            self.believe(call);
        }
    }
}
