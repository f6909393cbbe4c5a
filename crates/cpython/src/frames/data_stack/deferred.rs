use hashbrown::HashMap;

use super::Seen;
use super::known::Known;
use crate::frames::{Leaf, RawStack};

/// Looks that found a thread in a frame whose callers could not be told, and that the
/// next stack which ends in that frame stands for.
///
/// A thread that has returned from the frame that was current may have called others
/// since, where that one and its callers lay. What was current then is lost; what is
/// current now is another moment, and as it has returned, one of frames further down too
/// often. But how much lay in the data stack is known: where the current frame was. So
/// where a stack has been seen that ended there, in a frame of the same function as far as
/// that can still be told, the look waits for the next one, as a missed tick waits for the
/// next sample.
#[derive(Debug, Default)]
pub(super) struct Deferred(HashMap<Leaf, u8>);

/// Looks that wait for one stack: where more of them fail than that, few succeed.
const MOST: u8 = 16;
/// Remembered before starting anew.
const MAX_LEAVES: usize = 1 << 13;

impl Deferred {
    /// Whether a look may wait for a stack that ends like this, which it does then. Nobody
    /// knows whether one comes where none has ended yet.
    pub(super) fn wait(&mut self, leaf: Leaf) -> bool {
        let waiting = self.0.get_mut(&leaf).filter(|waiting| **waiting < MOST);
        waiting.map(|waiting| *waiting += 1).is_some()
    }

    /// A stack is shown that ends like this: nobody waits for it any more.
    pub(super) fn shown(&mut self, leaf: Leaf) {
        if self.0.len() >= MAX_LEAVES {
            self.0.clear();
        }
        self.0.insert(leaf, 0);
        self.0.insert(leaf.of_any_code(), 0);
    }
}

impl Known {
    /// What a look found is shown, if that is the stack of its moment.
    pub(super) fn show(&mut self, seen: Seen, stack: &mut RawStack) {
        let newest = stack.frames.first();
        stack.leaf = newest.and_then(|newest| seen.leaf(newest.code));
        if let Some(leaf) = stack.leaf {
            self.deferred.shown(leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use firefinch_memory::RemoteAddr;

    use super::*;

    fn leaf(place: u64, code: u64) -> Leaf {
        Leaf {
            addr: RemoteAddr::new(place),
            end: RemoteAddr::new(place + 0x80),
            code: RemoteAddr::new(code),
        }
    }

    /// A look waits for a stack that ends in the same frame: in the same place, and of
    /// the same function unless that is unknown. None waits for what was never shown, nor
    /// are there ever many.
    #[test]
    fn the_next_of_the_same_frame() {
        let mut deferred = Deferred::default();
        let (one, other, elsewhere) = (leaf(0x300, 1), leaf(0x300, 2), leaf(0x200, 1));
        assert!(!deferred.wait(one));
        assert!(!deferred.wait(one.of_any_code()));
        deferred.shown(one);
        assert!(!deferred.wait(other));
        assert!(!deferred.wait(elsewhere));
        assert!(!deferred.wait(elsewhere.of_any_code()));
        let times =
            |deferred: &mut Deferred, leaf| (0..100).filter(|_| deferred.wait(leaf)).count();
        assert_eq!(times(&mut deferred, one), usize::from(MOST));
        assert_eq!(times(&mut deferred, one), 0);
        assert_eq!(times(&mut deferred, one.of_any_code()), usize::from(MOST));
        deferred.shown(other);
        assert_eq!(times(&mut deferred, one), 0);
        assert_eq!(times(&mut deferred, one.of_any_code()), usize::from(MOST));
        deferred.shown(one);
        assert_eq!(times(&mut deferred, one), usize::from(MOST));
        for place in 0..2 * MAX_LEAVES as u64 {
            deferred.shown(leaf(place, 1));
        }
        assert!(deferred.0.len() <= MAX_LEAVES + 2);
    }
}
