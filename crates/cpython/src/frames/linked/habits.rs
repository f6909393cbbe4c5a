//! What is known of the calls a program makes.

use firefinch_memory::RemoteAddr;
use hashbrown::{HashMap, HashSet};

use super::chain::Seen;
use crate::frames::{Position, RawFrame};

/// The caller's code object and instruction, and the callee's code object.
pub(super) type Call = (RemoteAddr, Position, RemoteAddr);

/// The calls that are believed, and what speaks for those that are not yet.
#[derive(Debug, Default)]
pub(super) struct Habits {
    believed: HashSet<Call>,
    /// Where a code object is believed to call another.
    places: HashMap<(RemoteAddr, RemoteAddr), Vec<Position>>,
    /// The places that call a Python function by its name, and so no other.
    direct: HashSet<(RemoteAddr, Position)>,
    /// How often calls of the pairs that are watched were seen alive.
    living: HashMap<Call, u32>,
    /// The pairs of code objects between which a call is in doubt, and how
    /// often one was seen to call the other from anywhere.
    watched: HashMap<(RemoteAddr, RemoteAddr), u32>,
    /// The last chain, oldest frame first, and for how many looks each frame
    /// has stood there.
    last: Vec<(RawFrame, u32)>,
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
/// A call is made if it is at least this part of its pair's.
const USUAL_PART: u32 = 4;
/// So many times and more than half of the pair's are enough without that.
const CLEAR: u32 = 4;
/// It is torn if it is less than this part.
const RARE_PART: u32 = 16;

pub(super) fn call(caller: &RawFrame, callee: &RawFrame) -> Call {
    (caller.code, caller.position, callee.code)
}

impl Habits {
    /// Begins a new series of looks.
    pub(super) fn begin(&mut self) {
        self.last.clear();
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
        } else if living.saturating_mul(USUAL_PART) >= pair {
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
        }
        self.watched.entry((call.0, call.2)).or_default();
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
