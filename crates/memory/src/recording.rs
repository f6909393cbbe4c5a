use std::cell::RefCell;
use std::fmt;

use crate::{Memory, Range, ReadError, RemoteAddr, Snapshot};

/// Memory that keeps what is read of it, and nothing else.
///
/// What is read twice is kept as it was the second time. A read that fails
/// leaves no trace, so it fails in the recorded [`Snapshot`] too, unless other
/// reads covered its range.
pub struct Recording<'a> {
    memory: &'a dyn Memory,
    seen: RefCell<Snapshot>,
}

impl<'a> Recording<'a> {
    /// Nothing read yet of `memory`.
    pub fn new(memory: &'a dyn Memory) -> Self {
        Self {
            memory,
            seen: RefCell::default(),
        }
    }

    /// What was read.
    pub fn into_snapshot(self) -> Snapshot {
        self.seen.into_inner()
    }
}

impl Memory for Recording<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.memory.read(addr, buf)?;
        self.seen.borrow_mut().insert(addr, buf.to_vec());
        Ok(())
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let done = self.memory.read_scattered(ranges);
        let mut seen = self.seen.borrow_mut();
        for range in ranges.iter().take(done) {
            seen.insert(range.addr, range.buf.to_vec());
        }
        done
    }
}

impl fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read can be read again, in one piece or scattered; what was
    /// not cannot.
    #[test]
    fn what_is_read_is_kept() {
        let mut memory = Snapshot::new();
        memory.insert(RemoteAddr::new(0x1000), (0..64).collect());
        let recording = Recording::new(&memory);
        recording.read_u32(RemoteAddr::new(0x1004)).unwrap();
        recording.read_u64(RemoteAddr::new(0x2000)).unwrap_err();
        let (mut one, mut two, mut three) = ([0; 2], [0; 2], [0; 2]);
        let mut ranges =
            [(0x1010, &mut one), (0x2000, &mut two), (0x1020, &mut three)].map(|(addr, buf)| {
                Range {
                    addr: RemoteAddr::new(addr),
                    buf,
                }
            });
        assert_eq!(recording.read_scattered(&mut ranges), 1);
        let seen = recording.into_snapshot();
        let segments: Vec<_> = seen.segments().map(|(a, b)| (a.get(), b)).collect();
        let expected: [(u64, &[u8]); 2] = [(0x1004, &[4, 5, 6, 7]), (0x1010, &[16, 17])];
        assert_eq!(segments, expected);
    }
}
