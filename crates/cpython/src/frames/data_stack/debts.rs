use firefinch_memory::RemoteAddr;
use hashbrown::HashMap;

use crate::frames::RawStack;

/// Frames that were current, but had returned, and were shown by what was there
/// a moment later.
///
/// A thread that calls while it is looked at leaves the stack behind that
/// `current_frame` named; one that returns may call others where that was, and
/// then only the later stack can be shown. So as not to see too few of the
/// innermost frames, for each frame left like that another one that is entered
/// at the same address meanwhile is shown a moment late as well: a thread enters
/// frames as often as it leaves them.
#[derive(Debug, Default)]
pub(super) struct Debts(HashMap<RemoteAddr, u32>);

/// What is not paid back soon was owed by something else than what is there now.
const MAX_OWED: u32 = 8;
/// Addresses remembered before starting anew.
const MAX_DEBTS: usize = 4096;

impl Debts {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This was shown in place of the stack whose newest frame was `aim`.
    pub(super) fn owe(&mut self, aim: RemoteAddr, stack: &RawStack) {
        let newest = stack.frames.first().map_or(aim, |newest| newest.addr);
        if newest < aim {
            if self.0.len() >= MAX_DEBTS {
                self.0.clear();
            }
            let owed = self.0.entry(aim).or_default();
            *owed = MAX_OWED.min(*owed + 1);
        } else if newest > aim {
            self.pay(stack);
        }
    }

    /// Whether something is paid back by showing this one.
    pub(super) fn pay(&mut self, stack: &RawStack) -> bool {
        let newest = stack.frames.first().map(|newest| newest.addr);
        let owed = newest.and_then(|newest| self.0.get_mut(&newest));
        owed.filter(|owed| **owed > 0)
            .map(|owed| *owed -= 1)
            .is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Position, RawFrame};

    fn at(addr: u64) -> RawStack {
        let frame = RawFrame {
            addr: RemoteAddr::new(addr),
            code: RemoteAddr::new(1),
            position: Position::Offset(0),
        };
        RawStack {
            frames: vec![frame],
            ..RawStack::default()
        }
    }

    /// Whoever has left a frame is made good for by one that enters a frame at
    /// the same address, once, and by no other.
    #[test]
    fn what_is_owed_is_paid_once() {
        let mut debts = Debts::default();
        let aim = RemoteAddr::new(0x300);
        assert!(!debts.pay(&at(0x300)));
        debts.owe(aim, &at(0x200));
        assert!(!debts.pay(&at(0x400)));
        assert!(debts.pay(&at(0x300)));
        assert!(!debts.pay(&at(0x300)));
        // One that went on to a deeper frame pays by itself.
        debts.owe(aim, &at(0x100));
        debts.owe(RemoteAddr::new(0x200), &at(0x300));
        assert!(!debts.pay(&at(0x300)));
        debts.owe(aim, &at(0x300));
        assert!(!debts.pay(&at(0x300)));
    }
}
