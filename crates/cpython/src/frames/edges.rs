use firefinch_memory::RemoteAddr;
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::data_stack::Order;
use super::{Position, RawFrame};

/// The calls that are known to happen: who calls whom, from which instruction.
///
/// A copy of a moving stack may join parts of two moments. Such a seam shows
/// as a call that the program does not make, so a stack is believed when each
/// of its calls has once been seen standing still: the same in two copies,
/// one right after the other. A call that does not exist would have to be torn
/// in the same way twice in a row.
///
/// Believing calls, not whole stacks, keeps what moves fast: a stack is not
/// thrown away because it has changed by the second look.
#[derive(Debug, Default)]
pub(super) struct Calls {
    known: HashSet<Call>,
    /// The places that are known to call something.
    places: HashSet<(RemoteAddr, Position)>,
    /// From where one code object is known to call another.
    sites: HashMap<(RemoteAddr, RemoteAddr), Vec<Position>>,
    /// Callers that named a callee which they are not known to call: how often,
    /// and since which stack.
    named: HashMap<Call, (u8, u64)>,
    /// Calls that were observed: how often in each order, and since which stack.
    observed: HashMap<Call, (u8, u8, u64)>,
    /// How far from the loops of places theirs lie that C code began for what they call.
    depths: HashMap<(RemoteAddr, Position), SmallVec<[Depth; 2]>>,
    /// From where one code object is known to call another through C code, and how far.
    entered: HashMap<(RemoteAddr, RemoteAddr), Entered>,
    /// Stacks looked at.
    stacks: u64,
    /// Calls that have become known.
    learnt: u64,
}

/// Times that a place which is known to call something must have named another
/// callee, within so many stacks. A copy may hold the place before a call and
/// the name after it; the caller is looked at again behind that, but may have
/// come back meanwhile, so it would have to be torn in the same way twice again
/// soon.
const NAMED: u8 = 3;
/// The same where the bytecode is that of a call of another. Of a program that calls two
/// methods of a name a few nanoseconds after each other, one stack in 200 has one in the
/// place of the other where processors are far from each other.
const NAMED_ANYWAY: u8 = 24;
const NAMED_WITHIN: u64 = 1024;

/// Half a second at the usual rates.
const MANY: u64 = 256;

/// Times that a call must have been observed in each order, within as many.
const OBSERVED: u8 = 2;

/// What the bytecode where a caller stands says of whom it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// It has another name there.
    MayBeAnother,
    /// The caller calls it elsewhere, or has called another one there.
    IsAnother,
    /// C code begins loops there, but elsewhere on the C stack than where this one runs,
    /// which is where the caller calls it from another place.
    IsWrong,
}

/// How far one loop lies from the one below it on the C stack: as much as the C code takes
/// that leads from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth(pub(super) u64);

type Entered = SmallVec<[(Position, Depth); 2]>;

/// Remembered of one place, and of one call.
const MAX_DEPTHS: usize = 16;

/// A caller's code object and instruction, and the callee's code object; nulls
/// for the oldest frame, which nobody calls.
pub(super) type Call = (RemoteAddr, Position, RemoteAddr);

/// Remembered before starting anew; a large program has some ten thousand.
pub(super) const MAX_KNOWN: usize = 1 << 20;

pub(super) fn call(caller: Option<&RawFrame>, callee: &RawFrame) -> Call {
    match caller {
        Some(caller) => (caller.code, caller.position, callee.code),
        None => (RemoteAddr::NULL, Position::Offset(0), callee.code),
    }
}

/// The calls of a stack, given newest frame first.
pub(super) fn calls(frames: &[RawFrame]) -> impl Iterator<Item = (Option<&RawFrame>, &RawFrame)> {
    let callers = frames.iter().skip(1).map(Some).chain([None]);
    callers.zip(frames)
}

impl Calls {
    /// Whether every call of the stack is known, those between the oldest
    /// `unchanged` frames being so.
    pub(super) fn know(&self, frames: &[RawFrame], unchanged: usize) -> bool {
        let changed = frames.len().saturating_sub(unchanged);
        let mut changed = calls(frames).take(changed);
        changed.all(|(caller, callee)| self.known.contains(&call(caller, callee)))
    }

    /// Whether this call is known.
    pub(super) fn know_call(&self, caller: &RawFrame, callee: &RawFrame) -> bool {
        self.known.contains(&call(Some(caller), callee))
    }

    fn add(&mut self, caller: Option<&RawFrame>, callee: &RawFrame, depth: Option<Depth>) {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
            self.places.clear();
            self.sites.clear();
            self.depths.clear();
            self.entered.clear();
        }
        if let Some((caller, depth)) = caller.zip(depth) {
            self.enter(caller, callee, depth);
        }
        if !self.known.insert(call(caller, callee)) {
            return;
        }
        self.learnt = self.learnt.wrapping_add(1);
        if let Some(caller) = caller {
            self.places.insert((caller.code, caller.position));
            let sites = self.sites.entry((caller.code, callee.code)).or_default();
            sites.push(caller.position);
        }
    }

    /// C code that the caller calls has begun a loop for the callee, so far from its own.
    fn enter(&mut self, caller: &RawFrame, callee: &RawFrame, depth: Depth) {
        let depths = self.depths.entry((caller.code, caller.position));
        let depths = depths.or_default();
        if depths.len() < MAX_DEPTHS && !depths.contains(&depth) {
            depths.push(depth);
        }
        let entered = self.entered.entry((caller.code, callee.code)).or_default();
        let here = (caller.position, depth);
        if entered.len() < MAX_DEPTHS && !entered.contains(&here) {
            entered.push(here);
        }
    }

    /// Whether the caller has called this one so far through C code from another place than
    /// that where it stands; `leads` tells whether it may come from here to there.
    pub(super) fn is_of_another(
        &self,
        caller: &RawFrame,
        callee: &RawFrame,
        depth: Depth,
        mut leads: impl FnMut(Position) -> bool,
    ) -> Doubt {
        let entered = self.entered.get(&(caller.code, callee.code));
        let entered = entered.into_iter().flatten();
        let mut elsewhere = entered
            .filter(|(position, of)| *of == depth && *position != caller.position)
            .map(|(position, _)| *position)
            .peekable();
        if elsewhere.peek().is_none() {
            return Doubt::None;
        }
        match self.depths.get(&(caller.code, caller.position)) {
            Some(here) if here.contains(&depth) => Doubt::None,
            Some(_) => Doubt::IsWrong,
            None if elsewhere.any(&mut leads) => Doubt::IsAnother,
            None => Doubt::None,
        }
    }

    /// The bytecode shows that this is a call; `depth` tells how far through C code.
    pub(super) fn read(&mut self, caller: &RawFrame, callee: &RawFrame, depth: Option<Depth>) {
        self.add(Some(caller), callee, depth);
    }

    /// From where the code of one frame is known to call that of the other.
    pub(super) fn sites(&self, caller: &RawFrame, callee: &RawFrame) -> &[Position] {
        let sites = self.sites.get(&(caller.code, callee.code));
        sites.map_or(&[], Vec::as_slice)
    }

    /// Another stack is looked at.
    pub(super) fn begin(&mut self) {
        self.stacks = self.stacks.wrapping_add(1);
    }

    /// Whether so many stacks were looked at that the functions of a program have
    /// mostly been met.
    pub(super) fn has_seen_many(&self) -> bool {
        self.stacks >= MANY
    }

    /// Changes when more is known than before.
    pub(super) fn lessons(&self) -> u64 {
        self.learnt.wrapping_add(u64::from(self.has_seen_many()))
    }

    /// The caller itself names this callee, but the bytecode there may be that of a call of
    /// another.
    pub(super) fn told(
        &mut self,
        caller: &RawFrame,
        callee: &RawFrame,
        depth: Option<Depth>,
        doubt: Doubt,
    ) {
        let place = (caller.code, caller.position);
        let is_new = doubt == Doubt::None && !self.places.contains(&place);
        if self.is_enough(caller, callee, doubt) || is_new {
            self.add(Some(caller), callee, depth);
        }
    }

    /// Counts a call that may be doubted: whether it was seen often enough now.
    fn is_enough(&mut self, caller: &RawFrame, callee: &RawFrame, doubt: Doubt) -> bool {
        let enough = match doubt {
            Doubt::IsWrong => return false,
            Doubt::IsAnother => NAMED_ANYWAY,
            Doubt::MayBeAnother | Doubt::None => NAMED,
        };
        self.count(caller, callee) >= enough
    }

    /// Both were alive in one copy, where the caller may call anything: learnt
    /// when it was seen again and again.
    pub(super) fn met_alive(
        &mut self,
        caller: &RawFrame,
        callee: &RawFrame,
        depth: Option<Depth>,
        doubt: Doubt,
    ) {
        if self.is_enough(caller, callee, doubt) {
            self.add(Some(caller), callee, depth);
        }
    }

    /// Counts this call among those that are not known yet: how often it was seen
    /// lately.
    fn count(&mut self, caller: &RawFrame, callee: &RawFrame) -> u8 {
        let call = call(Some(caller), callee);
        if self.named.len() >= MAX_KNOWN {
            self.named.clear();
        }
        let now = self.stacks;
        let (times, since) = self.named.entry(call).or_insert((0, now));
        if now.wrapping_sub(*since) > NAMED_WITHIN {
            (*times, *since) = (0, now);
        }
        *times = times.saturating_add(1);
        *times
    }

    /// This call was seen by a look that may be wrong, if seldom: it is believed
    /// when it was seen several times in each order.
    pub(super) fn observed(&mut self, caller: &RawFrame, callee: &RawFrame, order: Order) {
        let call = call(Some(caller), callee);
        if self.observed.len() >= MAX_KNOWN {
            self.observed.clear();
        }
        let now = self.stacks;
        let seen = self.observed.entry(call).or_insert((0, 0, now));
        if now.wrapping_sub(seen.2) > NAMED_WITHIN {
            *seen = (0, 0, now);
        }
        let times = match order {
            Order::Same => &mut seen.0,
            Order::Reversed => &mut seen.1,
        };
        *times = times.saturating_add(1);
        if seen.0.min(seen.1) >= OBSERVED {
            self.add(Some(caller), callee, None);
        }
    }

    /// Whether every unknown call of `one` comes from a place that is not known
    /// to call anything else, and whose frame stands there in `two`, the next
    /// copy, as well. That is how a call looks that is made for the first
    /// time and is over within a microsecond; it is believed, not learnt, unless it
    /// `needs_proof`.
    pub(super) fn may_be_new(
        &self,
        one: &[RawFrame],
        two: &[RawFrame],
        mut needs_proof: impl FnMut(&Self, &RawFrame, &RawFrame) -> bool,
    ) -> bool {
        let stands = |caller: &RawFrame, height: usize| {
            let again = two.len().checked_sub(height).and_then(|at| two.get(at));
            again == Some(caller)
        };
        calls(one).enumerate().all(|(index, (caller, callee))| {
            self.known.contains(&call(caller, callee))
                || caller.is_some_and(|caller| {
                    !needs_proof(self, caller, callee)
                        && !self.places.contains(&(caller.code, caller.position))
                        && stands(caller, one.len() - index - 1)
                })
        })
    }

    /// Learns the calls that stand in both of two copies, at the same place of
    /// the stack, except those that need a better proof; `depth` tells how far through C
    /// code one was called.
    pub(super) fn learn(
        &mut self,
        one: &[RawFrame],
        two: &[RawFrame],
        depth: impl Fn(&RawFrame) -> Option<Depth>,
        mut needs_proof: impl FnMut(&Self, &RawFrame, &RawFrame) -> bool,
    ) {
        // Aligned at the oldest frame: the newest come and go.
        let same = |a: &RawFrame, b: &RawFrame| a.addr == b.addr && a.code == b.code;
        let pairs = one.iter().rev().zip(two.iter().rev());
        let mut caller: Option<&RawFrame> = None;
        for (a, b) in pairs {
            if !same(a, b) {
                break;
            }
            let is_learnt = caller
                .is_none_or(|caller| self.know_call(caller, a) || !needs_proof(self, caller, a));
            if is_learnt {
                self.add(caller, a, depth(a));
            }
            if a.position != b.position {
                break;
            }
            caller = Some(a);
        }
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

    /// A call is known once it stood in two copies; one that stood in a single
    /// copy is not, nor is what hangs on a caller that moved.
    #[test]
    fn only_what_stands_still_is_learnt() {
        let mut calls = Calls::default();
        let quiet = [frame(3, 30, 7), frame(2, 20, 5), frame(1, 10, 1)];
        let moved = [frame(3, 30, 9), frame(2, 20, 6), frame(1, 10, 1)];
        assert!(!calls.know(&quiet, 0));
        calls.learn(&quiet, &moved, |_| None, |_, _, _| false);
        // main → 20 stood still; 20 had moved on before it called 30 again.
        assert!(calls.know(&quiet[1..], 0));
        assert!(!calls.know(&quiet, 0));
        calls.learn(&quiet, &quiet, |_| None, |_, _, _| false);
        assert!(calls.know(&quiet, 0));
        // A place that calls 30 cannot be seen calling 40 by a torn copy.
        let other = [frame(3, 40, 2), frame(2, 20, 5), frame(1, 10, 1)];
        assert!(!calls.may_be_new(&other, &quiet, |_, _, _| false));
        // A new place may, if its frame stands there in the next copy too.
        let fresh = [
            frame(4, 50, 0),
            frame(3, 30, 8),
            frame(2, 20, 5),
            frame(1, 10, 1),
        ];
        let after = [frame(3, 30, 8), frame(2, 20, 5), frame(1, 10, 1)];
        assert!(calls.may_be_new(&fresh, &after, |_, _, _| false));
        assert!(!calls.may_be_new(&fresh, &quiet, |_, _, _| false));
        assert!(!calls.know(&fresh, 0));
        // The same functions, but called from another instruction.
        assert!(!calls.know(&moved, 0));
    }

    /// A caller is believed about a callee at once where nothing else is known,
    /// and the third time within a while where it is known to call another; what
    /// has not changed is not asked about.
    #[test]
    fn callers_tell() {
        let mut calls = Calls::default();
        let main = frame(1, 10, 1);
        let (one, two) = ([frame(2, 20, 3), main], [frame(2, 30, 3), main]);
        calls.learn(&one[1..], &one[1..], |_| None, |_, _, _| false);
        assert!(!calls.know(&one, 0));
        calls.told(&main, &one[0], None, Doubt::None);
        assert!(calls.know(&one, 0));
        for _ in 0..2 {
            calls.told(&main, &two[0], None, Doubt::None);
            assert!(!calls.know(&two, 0));
        }
        assert!(calls.know(&two, 2));
        // Too long ago.
        (0..=NAMED_WITHIN).for_each(|_| calls.begin());
        calls.told(&main, &two[0], None, Doubt::None);
        assert!(!calls.know(&two, 0));
        calls.told(&main, &two[0], None, Doubt::None);
        calls.told(&main, &two[0], None, Doubt::None);
        assert!(calls.know(&two, 0));
    }

    /// C code that two places of a function call takes as much of the C stack each time. A
    /// place where it takes something else has not called what the other one calls; one that
    /// is not known to call anything yet needs more proof, if it leads to the other.
    #[test]
    fn called_through_c_from_elsewhere() {
        let mut calls = Calls::default();
        let (sorted, max) = (frame(1, 10, 141), frame(1, 10, 142));
        let (rank, size) = (frame(2, 20, 0), frame(2, 30, 0));
        let (short, long) = (Depth(0x200), Depth(0x340));
        let learn = |calls: &mut Calls, caller, callee, depth| {
            let stack = [callee, caller];
            calls.learn(&stack, &stack, |_| Some(depth), |_, _, _| false);
        };
        let doubt = |calls: &Calls, caller, callee, depth, leads: bool| {
            calls.is_of_another(caller, callee, depth, |_| leads)
        };
        assert_eq!(doubt(&calls, &sorted, &rank, long, true), Doubt::None);
        learn(&mut calls, sorted, rank, long);
        assert_eq!(doubt(&calls, &max, &rank, long, true), Doubt::IsAnother);
        assert_eq!(doubt(&calls, &max, &rank, long, false), Doubt::None);
        assert_eq!(doubt(&calls, &max, &rank, short, true), Doubt::None);
        learn(&mut calls, max, size, short);
        assert_eq!(doubt(&calls, &max, &rank, long, false), Doubt::IsWrong);
        assert_eq!(doubt(&calls, &sorted, &size, short, true), Doubt::IsWrong);
        // The same C code may call both.
        assert_eq!(doubt(&calls, &sorted, &size, long, true), Doubt::None);
        // What is wrong is not believed however often it is seen.
        for _ in 0..=NAMED_ANYWAY {
            calls.told(&max, &rank, Some(long), Doubt::IsWrong);
        }
        assert!(!calls.know_call(&max, &rank));
        // As well where the bytecode has shown it.
        let (map, name) = (frame(1, 10, 143), frame(2, 40, 0));
        calls.read(&map, &name, Some(long));
        assert_eq!(doubt(&calls, &max, &name, long, true), Doubt::IsWrong);
        let new = frame(1, 10, 144);
        assert_eq!(doubt(&calls, &new, &name, long, true), Doubt::IsAnother);
    }

    /// A caller at a call of another has to tell more often.
    #[test]
    fn callers_at_another_call() {
        let mut calls = Calls::default();
        let (main, callee) = (frame(1, 10, 1), frame(2, 20, 3));
        for _ in 1..NAMED_ANYWAY {
            calls.told(&main, &callee, None, Doubt::IsAnother);
            assert!(!calls.know_call(&main, &callee));
        }
        calls.told(&main, &callee, None, Doubt::IsAnother);
        assert!(calls.know_call(&main, &callee));
        // At one of another name it is not believed at once.
        let other = frame(2, 30, 3);
        calls.told(&main, &other, None, Doubt::MayBeAnother);
        assert!(!calls.know_call(&main, &other));
        (1..NAMED).for_each(|_| calls.told(&main, &other, None, Doubt::MayBeAnother));
        assert!(calls.know_call(&main, &other));
    }
}
