use std::cell::Cell;
use std::fmt;

use crate::{Memory, Range, ReadError, ReadErrorKind, RemoteAddr};

/// What reading may cost, or has cost. Failed reads count too: their bytes
/// were allocated and asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCost {
    /// Ranges asked for.
    pub reads: u64,
    /// The sum of their lengths in bytes.
    pub bytes: u64,
    /// The length in bytes of the longest.
    pub longest: u64,
}

impl ReadCost {
    /// Whether this is no more than `limit` in every respect.
    pub fn is_within(&self, limit: &Self) -> bool {
        self.reads <= limit.reads && self.bytes <= limit.bytes && self.longest <= limit.longest
    }
}

/// Memory that counts what is read of it. Beyond its limit every read fails, so
/// that a decoder which asks without end comes to one.
pub struct Metered<'a> {
    memory: &'a dyn Memory,
    limit: ReadCost,
    cost: Cell<ReadCost>,
}

impl<'a> Metered<'a> {
    /// Nothing read yet of `memory`.
    pub fn new(memory: &'a dyn Memory, limit: ReadCost) -> Self {
        Self {
            memory,
            limit,
            cost: Cell::default(),
        }
    }

    /// What was asked for so far, refused reads included.
    pub fn cost(&self) -> ReadCost {
        self.cost.get()
    }

    fn count(&self, addr: RemoteAddr, len: usize) -> Result<(), ReadError> {
        let mut cost = self.cost.get();
        cost.reads = cost.reads.saturating_add(1);
        cost.bytes = cost.bytes.saturating_add(len as u64);
        cost.longest = cost.longest.max(len as u64);
        self.cost.set(cost);
        let kind = ReadErrorKind::TooLong;
        let refusal = ReadError { addr, len, kind };
        cost.is_within(&self.limit).then_some(()).ok_or(refusal)
    }
}

impl Memory for Metered<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.count(addr, buf.len())?;
        self.memory.read(addr, buf)
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let allowed = ranges
            .iter()
            .take_while(|range| self.count(range.addr, range.buf.len()).is_ok())
            .count();
        self.memory.read_scattered(&mut ranges[..allowed])
    }
}

impl fmt::Debug for Metered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered")
            .field("limit", &self.limit)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Snapshot;

    /// Reads are counted whether they succeed or not, and refused beyond any
    /// one of the limits.
    #[test]
    fn reads_end_at_the_limit() {
        let mut memory = Snapshot::new();
        memory.insert(RemoteAddr::new(0x1000), vec![0; 64]);
        let limit = ReadCost {
            reads: 3,
            bytes: 40,
            longest: 16,
        };
        let metered = Metered::new(&memory, limit);
        assert!(metered.read_u64(RemoteAddr::new(0x1000)).is_ok());
        assert!(metered.read_u64(RemoteAddr::new(0x9000)).is_err());
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let addr = RemoteAddr::new(0x1000);
        let mut ranges = [&mut one, &mut two].map(|buf| Range { addr, buf });
        assert_eq!(metered.read_scattered(&mut ranges), 1);
        assert_eq!(metered.cost().reads, 4);
        assert_eq!(metered.cost().bytes, 24);
        let long = Metered::new(&memory, limit).read(addr, &mut [0; 17]);
        assert_eq!(long.unwrap_err().kind, ReadErrorKind::TooLong);
    }
}
