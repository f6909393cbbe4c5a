//! Who has asked a generator for its next value, which it says only until it gives
//! it. A generator runs for less time than a look takes, so when it is copied it has
//! mostly done so; but whoever asks once, in a loop, goes on asking. Refused, its
//! samples would go to that loop.

use firefinch_memory::RemoteAddr;
use hashbrown::HashMap;

use super::known::Known;
use crate::frames::RawFrame;

/// Of each generator, by the address of its frame and its code: who had resumed it
/// when it was seen running last. Others come in its place, and it in theirs.
#[derive(Debug, Default)]
pub(super) struct Resumers(HashMap<(RemoteAddr, RemoteAddr), Resumer>);

/// A frame that ran this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumer {
    pub(super) addr: RemoteAddr,
    pub(super) code: RemoteAddr,
}

/// Generators remembered before starting anew.
const MAX_GENERATORS: usize = 4096;
/// The newest frames, among which generators give values.
const NEWEST: usize = 64;

impl Resumers {
    pub(super) fn of(&self, generator: &RawFrame) -> Option<Resumer> {
        self.0.get(&(generator.addr, generator.code)).copied()
    }

    fn meet(&mut self, generator: &RawFrame, resumer: &RawFrame) {
        if self.0.len() >= MAX_GENERATORS {
            self.0.clear();
        }
        let by = Resumer {
            addr: resumer.addr,
            code: resumer.code,
        };
        self.0.insert((generator.addr, generator.code), by);
    }
}

impl Known {
    /// Takes in who resumes whom in a stack. In a recursion through generators those
    /// of each level are alike, and come in each other's place: nothing is
    /// remembered of them.
    pub(super) fn meet_resumers(&mut self, frames: &[RawFrame]) {
        if !self.has_generators() {
            return;
        }
        let pairs = frames.iter().zip(frames.iter().skip(1)).take(NEWEST);
        for (generator, resumer) in pairs {
            if !self.is_in_chunk(generator.addr) && generator.code != resumer.code {
                self.resumers.meet(generator, resumer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Position;

    fn frame(addr: u64, code: u64) -> RawFrame {
        RawFrame {
            addr: RemoteAddr::new(addr),
            code: RemoteAddr::new(code),
            position: Position::Offset(0),
        }
    }

    /// A generator has the one that resumed it last, and another one that lies where
    /// it lay has none.
    #[test]
    fn last_one_by_address_and_code() {
        let mut resumers = Resumers::default();
        resumers.meet(&frame(1, 10), &frame(5, 50));
        resumers.meet(&frame(1, 10), &frame(6, 60));
        let (addr, code) = (RemoteAddr::new(6), RemoteAddr::new(60));
        assert_eq!(resumers.of(&frame(1, 10)), Some(Resumer { addr, code }));
        assert_eq!(resumers.of(&frame(1, 11)), None);
        assert_eq!(resumers.of(&frame(2, 10)), None);
        for other in 0..=MAX_GENERATORS as u64 {
            resumers.meet(&frame(100 + other, 10), &frame(5, 50));
        }
        assert!(resumers.0.len() <= MAX_GENERATORS);
    }
}
