use std::io::{self, BufRead, Read};
use std::sync::Arc;

use firefinch_memory::RemoteAddr;

/// Names of code made at run time, as the program itself wrote them to
/// `/tmp/perf-PID.map`: lines of start, size (both hexadecimal) and name
/// (tools/perf/Documentation/jit-interface.txt in Linux).
#[derive(Clone, Debug, Default)]
pub struct PerfMap {
    /// By start, not overlapping.
    entries: Vec<(u64, u64, Arc<str>)>,
}

/// Entries kept; a program with more code than that has a leak.
const MAX_ENTRIES: usize = 1 << 20;
/// The longest line.
const MAX_LINE: u64 = 4096;
/// What is read of a file at most.
const MAX_FILE: u64 = 256 << 20;

impl PerfMap {
    /// Reads a map, as far as it goes: the program may be writing to it, so a
    /// line that makes no sense is left out. Where entries overlap the later
    /// one wins, as it was written when the memory was used again.
    ///
    /// # Errors
    /// As of `input`.
    pub fn read(input: impl Read) -> io::Result<Self> {
        let mut input = io::BufReader::new(input.take(MAX_FILE));
        let mut found = Vec::new();
        let mut line = Vec::new();
        while found.len() < MAX_ENTRIES {
            line.clear();
            input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                break;
            }
            match line.strip_suffix(b"\n") {
                Some(whole) => found.extend(parse(whole)),
                // Too long, or not written to its end yet.
                None => drop(input.skip_until(b'\n')?),
            }
        }
        Ok(Self::of(found))
    }

    pub(super) fn of(found: Vec<(u64, u64, Arc<str>)>) -> Self {
        let mut entries = std::collections::BTreeMap::<u64, (u64, Arc<str>)>::new();
        for (start, end, name) in found {
            // What lies in the new one's place is gone, as a whole.
            let before = entries.range(..start).next_back();
            if let Some((&at, &(until, _))) = before
                && until > start
            {
                entries.remove(&at);
            }
            while let Some((&at, _)) = entries.range(start..end).next() {
                entries.remove(&at);
            }
            entries.insert(start, (end, name));
        }
        let entries = entries.into_iter();
        Self {
            entries: entries
                .map(|(start, (end, name))| (start, end, name))
                .collect(),
        }
    }

    /// The name of the code at an address.
    pub fn find(&self, addr: RemoteAddr) -> Option<&Arc<str>> {
        let after = self.entries.partition_point(|e| e.0 <= addr.get());
        let (_, end, name) = self.entries.get(after.checked_sub(1)?)?;
        (addr.get() < *end).then_some(name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn parse(line: &[u8]) -> Option<(u64, u64, Arc<str>)> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let start = hex(words.next()?)?;
    let end = start.checked_add(hex(words.next()?)?)?;
    let name = String::from_utf8_lossy(words.next()?);
    let name = name.trim();
    (start < end && !name.is_empty()).then(|| (start, end, name.into()))
}

fn hex(text: &[u8]) -> Option<u64> {
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    if text.first().is_none_or(|byte| !byte.is_ascii_hexdigit()) {
        return None; // from_str_radix would accept a sign
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(map: &PerfMap, addr: u64) -> Option<&str> {
        map.find(RemoteAddr::new(addr)).map(|name| &**name)
    }

    /// Names are found inside their ranges, the latest where ranges overlap, and lines that make no sense are left out.
    #[test]
    fn lines() {
        let text = b"1000 100 py::f:/tmp/a b.py\n0x2000 0x10 second\nnonsense\n3000\n\
            3000 0 empty\n-1 5 minus\nffffffffffffffff 2 wraps\n1080 10 newer\n5000 10 cut off";
        let map = PerfMap::read(&text[..]).unwrap();
        assert_eq!(name(&map, 0x1080), Some("newer"));
        assert_eq!(name(&map, 0x1090), None);
        assert_eq!(name(&map, 0x1000), None);
        assert_eq!(name(&map, 0x200f), Some("second"));
        assert_eq!(name(&map, 0x2010), None);
        assert_eq!(name(&map, 0x5000), None);
        assert_eq!(map.len(), 2);
        let map = PerfMap::read(&b"1000 100 py::f:/tmp/a b.py\n"[..]).unwrap();
        assert_eq!(name(&map, 0x10ff), Some("py::f:/tmp/a b.py"));
    }

    /// A line of any length costs no memory, and what follows it is read.
    #[test]
    fn endless_lines() {
        let mut text = b"1000 10 ".to_vec();
        text.extend(vec![b'x'; 1 << 20]);
        text.extend(b"\n2000 10 after\n");
        let map = PerfMap::read(&text[..]).unwrap();
        assert_eq!((map.len(), name(&map, 0x2001)), (1, Some("after")));
    }
}
