use std::cell::Cell;
use std::ops::Range as Span;

use firefinch_memory::{Memory, Range, ReadError, RemoteAddr};
use smallvec::SmallVec;

/// Pieces of the target's memory, copied by one call where that is possible.
///
/// The pieces are copied in the order in which they were planned, a fraction of
/// a microsecond apart; each one by itself is nearly a moment in time.
#[derive(Debug, Default)]
pub(in crate::frames) struct Look {
    parts: Vec<Part>,
    bytes: Vec<u8>,
    /// The piece found last: frames follow one another in it.
    found: Cell<usize>,
    /// The pieces that were copied for the second time.
    second: Span<usize>,
    /// Which pieces of the next look are copied from where on first, and then what
    /// lies before.
    begins: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Part {
    start: RemoteAddr,
    at: Span<usize>,
    /// It was copied from so many bytes on first.
    begin: Option<usize>,
}

/// All pieces together, in bytes: a recursion that fills more has no fast path.
const MAX_BYTES: usize = 64 << 20;

impl Look {
    /// Has the next look copy this piece from so many bytes on first, and what lies
    /// before them right after that.
    pub(super) fn begin(&mut self, piece: usize, skip: usize) {
        self.begins.push((piece, skip));
    }

    /// Forgets what was copied, and copies these pieces; how many of them,
    /// counted from the first, could be read. Those are what
    /// [`slice`](Self::slice) then finds.
    pub(in crate::frames) fn take(
        &mut self,
        memory: &dyn Memory,
        plan: &[(RemoteAddr, usize)],
    ) -> usize {
        self.take_twice(memory, plan, 0..0)
    }

    /// The same with some pieces that were planned for the second time, which
    /// only [`again`](Self::again) finds.
    pub(super) fn take_twice(
        &mut self,
        memory: &dyn Memory,
        plan: &[(RemoteAddr, usize)],
        second: Span<usize>,
    ) -> usize {
        self.second = second;
        self.parts.clear();
        let mut end = 0;
        for (index, (start, len)) in plan.iter().enumerate() {
            if end + len > MAX_BYTES {
                break;
            }
            let at = end..end + len;
            end = at.end;
            let begin = self.begins.iter().find(|(piece, _)| *piece == index);
            let begin = begin.map(|(_, skip)| *skip);
            self.parts.push(Part {
                start: *start,
                at,
                begin: begin.filter(|skip| (1..*len).contains(skip)),
            });
        }
        self.bytes.resize(end, 0);
        let mut rest = self.bytes.as_mut_slice();
        let mut ranges: SmallVec<[Range<'_>; 8]> = SmallVec::new();
        for part in &self.parts {
            let (buf, after) = rest.split_at_mut(part.at.len());
            rest = after;
            let addr = part.start;
            if let Some(skip) = part.begin {
                let (before, buf) = buf.split_at_mut(skip);
                let behind = addr.offset(skip as u64);
                ranges.push(Range { addr: behind, buf });
                ranges.push(Range { addr, buf: before });
            } else {
                ranges.push(Range { addr, buf });
            }
        }
        let mut read = memory.read_scattered(&mut ranges);
        // In pieces.
        let whole = |part: &&Part| {
            let ranges = 1 + usize::from(part.begin.is_some());
            let left = read.checked_sub(ranges);
            read = left.unwrap_or(0);
            left.is_some()
        };
        let filled = self.parts.iter().take_while(whole).count();
        self.begins.clear();
        self.parts.truncate(filled);
        filled
    }

    /// Copies one piece more.
    pub(super) fn add(
        &mut self,
        memory: &dyn Memory,
        start: RemoteAddr,
        len: usize,
    ) -> Result<(), ReadError> {
        let end = self.parts.last().map_or(0, |part| part.at.end);
        let len = len.min(MAX_BYTES.saturating_sub(end));
        self.bytes.resize(end + len, 0);
        let buf = self.bytes.get_mut(end..).unwrap_or_default();
        memory.read(start, buf)?;
        let at = end..end + len;
        self.parts.push(Part {
            start,
            at,
            begin: None,
        });
        Ok(())
    }

    /// Whether `addr` was copied before `other`, both in one piece.
    pub(super) fn is_before(&self, addr: RemoteAddr, other: RemoteAddr) -> bool {
        let holds = |part: &&Part| {
            [addr, other]
                .iter()
                .all(|at| self.of(part, *at, 1).is_some())
        };
        let Some(part) = self.parts.iter().find(holds) else {
            return false;
        };
        let begin = part
            .begin
            .map_or(part.start, |skip| part.start.offset(skip as u64));
        match (addr < begin, other < begin) {
            (true, false) => false,
            (false, true) => true,
            _ => addr < other,
        }
    }

    /// `len` bytes at `addr`, if they were copied in one piece.
    pub(in crate::frames) fn slice(&self, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let found = self.found.get();
        let near = self
            .parts
            .get(found)
            .filter(|_| !self.second.contains(&found))
            .and_then(|part| self.of(part, addr, len));
        if near.is_some() {
            return near;
        }
        let parts = self.parts.iter().enumerate();
        let mut parts = parts.filter(|(index, _)| !self.second.contains(index));
        parts.find_map(|(index, part)| {
            let bytes = self.of(part, addr, len)?;
            self.found.set(index);
            Some(bytes)
        })
    }

    /// The piece that begins at `addr`, if it was copied once.
    pub(super) fn piece(&self, addr: RemoteAddr) -> Option<&[u8]> {
        let mut parts = self.parts.iter().filter(|part| part.start == addr);
        let part = parts.next()?;
        match parts.next() {
            None => self.bytes.get(part.at.clone()),
            Some(_) => None,
        }
    }

    /// The same, as it was copied for the second time.
    pub(super) fn again(&self, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let second = self.parts.get(self.second.clone())?;
        second.iter().find_map(|part| self.of(part, addr, len))
    }

    fn of(&self, part: &Part, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let skip = usize::try_from(addr.checked_sub(part.start)?).ok()?;
        let from = part.at.start.checked_add(skip)?;
        let to = from.checked_add(len).filter(|to| *to <= part.at.end)?;
        self.bytes.get(from..to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firefinch_memory::Snapshot;

    /// What was copied is found, and nothing across the end of a piece, of a
    /// piece that could not be read, or of a look before.
    #[test]
    fn only_what_was_copied_is_found() {
        let at = RemoteAddr::new;
        let mut memory = Snapshot::new();
        memory.insert(at(0x1000), (0..64).collect());
        memory.insert(at(0x2000), vec![7; 16]);
        let mut look = Look::default();
        let plan = [
            (at(0x1000), 32),
            (at(0x2000), 8),
            (at(0x3000), 8),
            (at(0x1020), 8),
        ];
        assert_eq!(look.take(&memory, &plan), 2);
        assert_eq!(look.slice(at(0x1008), 4), Some(&[8, 9, 10, 11][..]));
        assert_eq!(look.slice(at(0x2000), 8), Some(&[7; 8][..]));
        assert_eq!(look.slice(at(0x101e), 4), None);
        assert_eq!(look.slice(at(0x1020), 1), None);
        assert_eq!(look.slice(at(0xfff), 2), None);
        look.add(&memory, at(0x1020), 8).unwrap();
        assert_eq!(look.slice(at(0x1020), 1), Some(&[32][..]));
        assert!(look.add(&memory, at(0x3000), 8).is_err());
        assert_eq!(look.take(&memory, &plan[1..2]), 1);
        assert_eq!(look.slice(at(0x1008), 4), None);
        // The second copy is found apart from the first, and not in its stead.
        let twice = [plan[1], plan[0], plan[1]];
        assert_eq!(look.take_twice(&memory, &twice, 2..3), 3);
        assert_eq!(look.again(at(0x2000), 8), Some(&[7; 8][..]));
        assert_eq!(look.again(at(0x1000), 8), None);
        assert_eq!(look.take_twice(&memory, &twice[1..], 1..2), 2);
        assert_eq!(look.slice(at(0x2000), 8), None);
    }

    /// A piece whose end is copied first is found as one; if its beginning cannot
    /// be read, it was not copied, nor what was planned behind it.
    #[test]
    fn the_end_of_a_piece_may_come_first() {
        let at = RemoteAddr::new;
        let mut memory = Snapshot::new();
        memory.insert(at(0x1000), (0..64).collect());
        memory.insert(at(0x2000), vec![7; 16]);
        let plan = [(at(0x2000), 8), (at(0x1000), 32), (at(0x2000), 16)];
        let mut look = Look::default();
        look.begin(1, 24);
        assert_eq!(look.take(&memory, &plan), 3);
        let all: Vec<u8> = (0..32).collect();
        assert_eq!(look.slice(at(0x1000), 32), Some(&all[..]));
        assert_eq!(look.slice(at(0x2008), 8), Some(&[7; 8][..]));
        let broken = [(at(0x2000), 8), (at(0xff0), 32), (at(0x2000), 16)];
        look.begin(1, 16);
        assert_eq!(look.take(&memory, &broken), 1);
        assert_eq!(look.slice(at(0x1000), 16), None);
        // Several may.
        look.begin(0, 4);
        look.begin(1, 8);
        assert_eq!(look.take(&memory, &plan), 3);
        assert_eq!(look.slice(at(0x1000), 32), Some(&all[..]));
        look.begin(0, 4);
        look.begin(1, 16);
        assert_eq!(look.take(&memory, &broken), 1);
        assert_eq!(look.slice(at(0x2000), 8), Some(&[7; 8][..]));
        assert_eq!(look.slice(at(0x1000), 16), None);
        // It was for one look, and is nothing at either end of a piece.
        for begin in [None, Some((0, 0)), Some((0, 8)), Some((9, 1))] {
            if let Some((piece, skip)) = begin {
                look.begin(piece, skip);
            }
            assert_eq!(look.take(&memory, &plan), 3);
            assert_eq!(look.slice(at(0x1000), 32), Some(&all[..]));
        }
    }
}
