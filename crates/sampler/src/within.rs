use firefinch_cpython::{Gil, Motion, RawStack, StackError, StackReader};
use firefinch_memory::{Memory, RemoteAddr};

use crate::ahead::{Ahead, Copied, Piece};
use crate::native::Capture;

/// What it takes to read the Python stacks of a thread that is stopped for it.
///
/// While the thread stands still they are copied, by the same call as its machine stack,
/// and read once it has gone on. What they are made of cannot be known beforehand, only
/// guessed ([`Ahead`]). So before the thread goes on it is seen to that all frames are
/// there (`Reach` of `firefinch-cpython`): if not, they are read first, as at another
/// moment there would be another stack.
#[derive(Debug)]
pub(crate) struct Within {
    stacks: Option<StackReader>,
    states: Vec<RemoteAddr>,
    /// Locks of which the stacks are to say whether they are held.
    locks: Vec<Gil>,
    /// The thread states that held them.
    holders: Vec<RemoteAddr>,
    ahead: Ahead,
    asked: Vec<Piece>,
}

/// The Python stacks of one thread: one for each of its thread states.
pub(crate) type Stacks = Vec<Result<RawStack, StackError>>;

impl Within {
    pub(crate) fn new(
        stacks: Option<StackReader>,
        states: &[RemoteAddr],
        locks: Vec<Gil>,
        ahead: Ahead,
    ) -> Self {
        Self {
            stacks,
            states: states.to_vec(),
            locks,
            holders: Vec::new(),
            ahead,
            asked: Vec::new(),
        }
    }

    /// What is kept for the next time, now that the thread was captured.
    pub(crate) fn into_parts(mut self, capture: &Capture) -> (Option<StackReader>, Ahead) {
        let elsewhere = |(addr, len): &Piece| {
            capture.copied(*addr, *len).is_none() && capture.unused(*addr, *len).is_none()
        };
        self.asked.retain(elsewhere);
        self.ahead.learn(&self.asked);
        (self.stacks, self.ahead)
    }

    /// Whether it is likely that what is copied ahead will be enough. It is planned now.
    pub(crate) fn plan(&mut self) -> bool {
        let reach = self.stacks.as_ref().and_then(StackReader::reach);
        reach.is_some() && self.ahead.plan()
    }

    /// The thread stands still: copies what is planned.
    pub(crate) fn copy(&mut self, memory: &dyn Memory) {
        self.ahead.copy(memory);
    }

    /// The stacks of a thread that stands still.
    pub(crate) fn read(&mut self, memory: &dyn Memory) -> Stacks {
        self.read_in(Copied::standing(memory, None)).0
    }

    /// The same if not all of them was copied.
    pub(crate) fn read_rest(&mut self, memory: &dyn Memory, capture: &Capture) -> Option<Stacks> {
        if self.is_copied(capture) {
            self.ahead.suffices();
            if !self.locks.is_empty() {
                let copied = Copied::standing(memory, Some((&self.ahead, capture)));
                self.holders = holders(&self.locks, &copied);
                self.asked.extend(copied.asked().0);
            }
            return None;
        }
        self.ahead.falls_short();
        let ahead = std::mem::take(&mut self.ahead);
        let (stacks, _) = self.read_in(Copied::standing(memory, Some((&ahead, capture))));
        self.ahead = ahead;
        Some(stacks)
    }

    /// The stacks, which were all copied. The thread has gone on.
    pub(crate) fn read_copied(&mut self, memory: &dyn Memory, capture: &Capture) -> Option<Stacks> {
        let mut ahead = std::mem::take(&mut self.ahead);
        let (stacks, is_whole) = self.read_in(Copied::left(memory, &ahead, capture));
        if !is_whole {
            ahead.falls_short();
        }
        self.ahead = ahead;
        is_whole.then_some(stacks)
    }

    /// Whether all frames of all stacks were copied.
    fn is_copied(&self, capture: &Capture) -> bool {
        let Some(reach) = self.stacks.as_ref().and_then(StackReader::reach) else {
            return false;
        };
        let find = |addr, len| {
            let in_stack = capture.copied(addr, len);
            in_stack.or_else(|| self.ahead.find(addr, len))
        };
        let mut states = self.states.iter();
        states.all(|state| reach.is_in(*state, find))
    }

    /// The stacks, and whether everything that was asked for them could be had.
    fn read_in(&mut self, memory: Copied<'_>) -> (Stacks, bool) {
        let Some(reader) = &mut self.stacks else {
            return (Stacks::new(), true);
        };
        let read = |state: &RemoteAddr| reader.read(&memory, *state, Motion::Stopped);
        let mut stacks: Stacks = self.states.iter().map(read).collect();
        if memory.is_standing() {
            self.holders = holders(&self.locks, &memory);
        }
        tell_gil(&mut stacks, &self.states, &self.locks, &self.holders);
        let (asked, is_whole) = memory.asked();
        self.asked.extend(asked);
        (stacks, is_whole)
    }
}

/// The thread states that hold the locks now, which are copied ahead the next time.
fn holders(locks: &[Gil], memory: &Copied<'_>) -> Vec<RemoteAddr> {
    memory.mind_short();
    let holders = locks.iter().filter_map(|lock| lock.holder(memory));
    holders.collect()
}

/// Has stacks say whether their threads hold one of the locks.
pub(crate) fn tell_gil(
    stacks: &mut [Result<RawStack, StackError>],
    states: &[RemoteAddr],
    locks: &[Gil],
    holders: &[RemoteAddr],
) {
    if locks.is_empty() {
        return;
    }
    for (stack, state) in stacks.iter_mut().zip(states) {
        if let Ok(stack) = stack {
            stack.holds_gil = Some(holders.contains(state));
        }
    }
}
