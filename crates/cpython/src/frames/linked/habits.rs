use std::collections::{HashMap, HashSet};

use firefinch_memory::RemoteAddr;

use crate::frames::edges::{Call, MAX_KNOWN, call, calls};
use crate::frames::{Position, RawFrame};

/// What frames read one by one tell about calls.
///
/// A reader that takes a microsecond for each frame can tear a program of the
/// same pace in the same way again and again, so standing still in two looks
/// proves little. A call is believed if it stood still for [`STEADY`] looks
/// with pauses of random length between, or if it is what its place usually
/// calls: a seam joins a place to a callee of another place, and is far rarer
/// there than the place's own.
#[derive(Debug, Default)]
pub(super) struct Habits {
    steady: HashSet<Call>,
    tallies: HashMap<(RemoteAddr, Position), Tally>,
    /// The last chain, oldest frame first, and for how many looks each frame
    /// has stood there.
    last: Vec<(RawFrame, u32)>,
}

/// How often a place called whom.
#[derive(Debug, Default)]
struct Tally {
    total: u32,
    callees: HashMap<RemoteAddr, u32>,
}

/// Looks in a row.
const STEADY: u32 = 4;
/// Times seen, and the part of its place's calls, that make a call usual.
const USUAL_TIMES: u32 = 8;
const USUAL_PART: u32 = 2;

impl Habits {
    /// Begins a new series of looks.
    pub(super) fn begin(&mut self) {
        self.last.clear();
    }

    /// Whether every call of the stack is believed.
    pub(super) fn know(&self, frames: &[RawFrame]) -> bool {
        calls(frames).all(|(caller, callee)| {
            let one = call(caller, callee);
            self.steady.contains(&one)
                || self.tallies.get(&(one.0, one.1)).is_some_and(|tally| {
                    let times = tally.callees.get(&callee.code).copied().unwrap_or(0);
                    times >= USUAL_TIMES && times.saturating_mul(USUAL_PART) >= tally.total
                })
        })
    }

    /// Counts the calls of a stack that is shown, or that read the same twice,
    /// where the caller stands at an instruction that calls. Others can lead
    /// to a call too, by a property or an operator, but have to stand still for it.
    pub(super) fn count(&mut self, frames: &[RawFrame], is_at_call: impl Fn(&RawFrame) -> bool) {
        if self.tallies.len() >= MAX_KNOWN {
            self.tallies.clear();
        }
        for (caller, callee) in calls(frames) {
            if caller.is_some_and(|caller| !is_at_call(caller)) {
                continue;
            }
            let one = call(caller, callee);
            let tally = self.tallies.entry((one.0, one.1)).or_default();
            tally.total = tally.total.saturating_add(1);
            let times = tally.callees.entry(callee.code).or_default();
            *times = times.saturating_add(1);
        }
    }

    /// Takes in the next look of a series, which read the same twice.
    pub(super) fn look(&mut self, frames: &[RawFrame]) {
        let mut standing = true;
        let mut next = Vec::with_capacity(frames.len());
        let mut caller: Option<RawFrame> = None;
        for (index, frame) in frames.iter().rev().enumerate() {
            let before = self.last.get(index);
            let same = |before: &&(RawFrame, u32)| {
                before.0.addr == frame.addr && before.0.code == frame.code
            };
            let looks = match before.filter(same) {
                Some((_, looks)) if standing => looks + 1,
                _ => 1,
            };
            if looks >= STEADY {
                self.steady.insert(call(caller.as_ref(), frame));
            }
            standing &= before.is_some_and(|before| before.0 == *frame);
            caller = Some(*frame);
            next.push((*frame, looks));
        }
        self.last = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(addr: u64, code: u64, offset: i32) -> RawFrame {
        RawFrame {
            addr: RemoteAddr::new(addr),
            code: RemoteAddr::new(code),
            position: Position::Offset(offset),
        }
    }

    /// A call that stood still long enough is believed; so is a place's usual
    /// callee, but not one that it is seen with now and then.
    #[test]
    fn usual_and_steady_calls_are_believed() {
        let main = frame(1, 10, 1);
        let usual = [frame(2, 20, 0), main];
        let seldom = [frame(3, 30, 0), main];
        let mut habits = Habits::default();
        for _ in 0..100 {
            habits.count(&usual, |_| true);
        }
        for _ in 0..10 {
            habits.count(&seldom, |_| true);
        }
        assert!(habits.know(&usual));
        assert!(!habits.know(&seldom));
        habits.begin();
        for _ in 1..STEADY {
            habits.look(&seldom);
        }
        assert!(!habits.know(&seldom));
        // One look at something else breaks the series.
        habits.look(&usual);
        habits.look(&seldom);
        assert!(!habits.know(&seldom));
        for _ in 1..STEADY {
            habits.look(&seldom);
        }
        assert!(habits.know(&seldom));
        // A place that does not call has no usual callee.
        let odd = [frame(4, 40, 0), frame(1, 11, 7)];
        for _ in 0..100 {
            habits.count(&odd, |_| false);
        }
        assert!(!habits.know(&odd));
    }
}
