use std::collections::BTreeMap;

use crate::{Memory, ReadError, ReadErrorKind, RemoteAddr};

/// Memory recorded earlier: a set of disjoint segments.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    segments: BTreeMap<RemoteAddr, Vec<u8>>,
}

impl Snapshot {
    /// A snapshot that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a segment; a later one wins over an earlier one at the same start.
    pub fn insert(&mut self, addr: RemoteAddr, bytes: Vec<u8>) {
        self.segments.insert(addr, bytes);
    }

    /// The segments in address order.
    pub fn segments(&self) -> impl Iterator<Item = (RemoteAddr, &[u8])> {
        self.segments.iter().map(|(a, b)| (*a, b.as_slice()))
    }
}

impl Memory for Snapshot {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let error = ReadError {
            addr,
            len: buf.len(),
            kind: ReadErrorKind::Unmapped,
        };
        // A range may run over adjacent segments, as it may over adjacent mappings.
        let mut done = 0;
        while done < buf.len() {
            let at = addr.offset(done as u64);
            let (start, bytes) = self.segments.range(..=at).next_back().ok_or(error)?;
            let skip = at.checked_sub(*start).ok_or(error)?;
            let skip = usize::try_from(skip).map_err(|_| error)?;
            let rest = bytes.get(skip..).filter(|r| !r.is_empty()).ok_or(error)?;
            let count = rest.len().min(buf.len() - done);
            buf[done..done + count].copy_from_slice(&rest[..count]);
            done += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read across two adjacent segments is whole; one into a gap fails.
    #[test]
    fn adjacent_segments_join_and_gaps_fail() {
        let mut snapshot = Snapshot::new();
        snapshot.insert(RemoteAddr::new(0x1000), vec![1; 16]);
        snapshot.insert(RemoteAddr::new(0x1010), vec![2; 8]);
        let mut buf = [0; 12];
        snapshot.read(RemoteAddr::new(0x100a), &mut buf).unwrap();
        assert_eq!(buf, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
        let error = snapshot
            .read(RemoteAddr::new(0x1010), &mut buf)
            .unwrap_err();
        assert_eq!(error.kind, ReadErrorKind::Unmapped);
        assert!(snapshot.read(RemoteAddr::new(0xfff), &mut [0]).is_err());
    }

    /// A length from the target above the limit is refused before allocating.
    #[test]
    fn absurd_lengths_are_refused() {
        let error = Snapshot::new()
            .read_vec(RemoteAddr::new(1), u64::MAX, 64)
            .unwrap_err();
        assert_eq!(error.kind, ReadErrorKind::TooLong);
    }
}
