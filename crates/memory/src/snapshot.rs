use std::collections::BTreeMap;

use crate::{Memory, ReadError, ReadErrorKind, RemoteAddr};

/// Memory recorded earlier: segments that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    segments: BTreeMap<RemoteAddr, Vec<u8>>,
}

impl Snapshot {
    /// A snapshot that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts bytes at an address, over what was there, and joins them with what
    /// they touch. What would lie beyond the end of the address space is left out.
    pub fn insert(&mut self, addr: RemoteAddr, mut bytes: Vec<u8>) {
        let room = u64::MAX - addr.get();
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        if bytes.is_empty() {
            return;
        }
        let end = addr.offset(bytes.len() as u64);
        let below = self.segments.range_mut(..=addr).next_back();
        let below = below.filter(|(start, old)| start.offset(old.len() as u64) >= addr);
        let (start, mut joined) = match below {
            Some((start, old)) => {
                let at = usize::try_from(addr.get() - start.get()).unwrap_or(usize::MAX);
                let common = bytes.len().min(old.len() - at);
                let (over, beyond) = bytes.split_at(common);
                old[at..at + common].copy_from_slice(over);
                if beyond.is_empty() {
                    return;
                }
                old.extend_from_slice(beyond);
                (*start, std::mem::take(old))
            }
            None => (addr, bytes),
        };
        let touched: Vec<_> = self.segments.range(addr..=end).map(|(a, _)| *a).collect();
        for above in touched.into_iter().filter(|above| *above != start) {
            let old = self.segments.remove(&above).unwrap_or_default();
            let hidden = usize::try_from(end.get() - above.get()).unwrap_or(usize::MAX);
            joined.extend_from_slice(old.get(hidden..).unwrap_or_default());
        }
        self.segments.insert(start, joined);
    }

    /// Takes `len` bytes at an address away, as far as they were there.
    pub fn remove(&mut self, addr: RemoteAddr, len: u64) {
        let end = RemoteAddr::new(addr.get().saturating_add(len));
        if end == addr {
            return;
        }
        let overlapped: Vec<_> = self
            .segments
            .range(..end)
            .rev()
            .take_while(|(start, old)| start.offset(old.len() as u64) > addr)
            .map(|(start, _)| *start)
            .collect();
        for start in overlapped {
            let mut old = self.segments.remove(&start).unwrap_or_default();
            let offset = |at: RemoteAddr| {
                let offset = at.checked_sub(start).unwrap_or(0);
                usize::try_from(offset).map_or(old.len(), |offset| offset.min(old.len()))
            };
            let (keep, rest) = (offset(addr), offset(end));
            let above = old.split_off(rest);
            old.truncate(keep);
            for (start, kept) in [(start, old), (end, above)] {
                if !kept.is_empty() {
                    self.segments.insert(start, kept);
                }
            }
        }
    }

    /// The segments in address order.
    pub fn segments(&self) -> impl Iterator<Item = (RemoteAddr, &[u8])> {
        self.segments.iter().map(|(a, b)| (*a, b.as_slice()))
    }

    /// What it holds from `addr` on without a gap; empty if nothing.
    pub fn available(&self, addr: RemoteAddr) -> &[u8] {
        let segment = self.segments.range(..=addr).next_back();
        let rest = segment.and_then(|(start, bytes)| {
            let skip = usize::try_from(addr.checked_sub(*start)?).ok()?;
            bytes.get(skip..)
        });
        rest.unwrap_or_default()
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.segments.values().map(Vec::len).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

impl Extend<(RemoteAddr, Vec<u8>)> for Snapshot {
    fn extend<T: IntoIterator<Item = (RemoteAddr, Vec<u8>)>>(&mut self, segments: T) {
        for (addr, bytes) in segments {
            self.insert(addr, bytes);
        }
    }
}

impl Memory for Snapshot {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let error = ReadError {
            addr,
            len: buf.len(),
            kind: ReadErrorKind::Unmapped,
        };
        let bytes = self.available(addr).get(..buf.len()).ok_or(error)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(snapshot: &Snapshot) -> Vec<(u64, Vec<u8>)> {
        let segments = snapshot.segments();
        segments.map(|(a, b)| (a.get(), b.to_vec())).collect()
    }

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

    /// What is put in and taken out in any order reads as it would from an
    /// array, and segments neither overlap nor touch.
    #[test]
    fn segments_stay_disjoint() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut snapshot = Snapshot::new();
        let mut model = [None; 64];
        for round in 0..4_000 {
            let (addr, len) = (random(64), random(12));
            let len = len.min(64 - addr);
            let range = usize::try_from(addr).unwrap()..usize::try_from(addr + len).unwrap();
            let value = u8::try_from(round % 251).unwrap();
            if random(3) == 0 {
                snapshot.remove(RemoteAddr::new(addr), len);
                model[range].fill(None);
            } else {
                snapshot.insert(RemoteAddr::new(addr), vec![value; range.len()]);
                model[range].fill(Some(value));
            }
            for (addr, byte) in model.iter().enumerate() {
                let mut read = [0];
                let result = snapshot.read(RemoteAddr::new(addr as u64), &mut read);
                assert_eq!(result.ok().map(|()| read[0]), *byte);
            }
            let list = segments(&snapshot);
            assert!(list.iter().all(|(_, bytes)| !bytes.is_empty()));
            let ends = list.iter().map(|(addr, bytes)| addr + bytes.len() as u64);
            assert!(
                ends.zip(list.iter().skip(1))
                    .all(|(end, next)| end < next.0)
            );
        }
    }

    /// The end of the address space is an end.
    #[test]
    fn nothing_lies_beyond_the_last_address() {
        let mut snapshot = Snapshot::new();
        snapshot.insert(RemoteAddr::new(u64::MAX - 2), vec![7; 8]);
        assert_eq!(segments(&snapshot), [(u64::MAX - 2, vec![7; 2])]);
        let wrapped = snapshot.read(RemoteAddr::new(u64::MAX - 2), &mut [0; 3]);
        assert!(wrapped.is_err());
        snapshot.remove(RemoteAddr::new(u64::MAX - 1), u64::MAX);
        assert_eq!(segments(&snapshot), [(u64::MAX - 2, vec![7])]);
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
