use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use firefinch_memory::RemoteAddr;

/// Names of code made at run time, as the program itself wrote them to
/// `/tmp/perf-PID.map`: lines of start, size (both hexadecimal) and name
/// (tools/perf/Documentation/jit-interface.txt in Linux).
///
/// Such a file grows for as long as the program makes code, so each reading goes on where
/// the last one ended.
#[derive(Clone, Debug, Default)]
pub struct PerfMap {
    /// By start: end and name, not overlapping.
    entries: BTreeMap<u64, (u64, Arc<str>)>,
    /// Bytes of their names.
    len: usize,
    /// How much of the file has been read.
    pub(super) read_to: u64,
    /// What stands where in it, by which it is known again.
    known_by: (u64, Vec<u8>),
    /// Whether that place is within a line that is too long.
    in_long_line: bool,
}

/// A place in the memory of a program: start and end, and what its code is called.
pub(super) type Entry = (u64, u64, Arc<str>);

/// Entries kept; a program with more code than that has a leak.
const MAX_ENTRIES: usize = 1 << 20;
/// Bytes of names kept.
const MAX_NAMES: usize = 128 << 20;
/// The longest line.
const MAX_LINE: u64 = 4096;
/// What is read of a file at most.
const MAX_FILE: u64 = 256 << 20;
/// Bytes by which a file is known again.
const KNOWN_BY: usize = 64;

impl PerfMap {
    /// Reads what a map has that was not read yet, as far as it goes: the program may be
    /// writing to it, so a line that makes no sense is left out. Where entries overlap the
    /// later one wins, as it was written when the memory was used again. A map that is
    /// another one by now is read from its start.
    ///
    /// # Errors
    /// As of `input`.
    pub fn read_on(&mut self, input: impl Read + Seek) -> io::Result<()> {
        let mut input = self.resume(input)?;
        let mut line = Vec::new();
        while self.read_to < MAX_FILE && !self.is_full() {
            line.clear();
            let most = MAX_LINE.min(MAX_FILE - self.read_to);
            let len = input.by_ref().take(most).read_until(b'\n', &mut line)? as u64;
            let is_long = std::mem::take(&mut self.in_long_line);
            match line.strip_suffix(b"\n") {
                Some(whole) if !is_long => {
                    if let Some(entry) = parse(whole) {
                        self.insert(entry);
                    }
                }
                Some(_) => {}
                None if len == most => self.in_long_line = true,
                // Not written to its end yet.
                None => {
                    self.in_long_line = is_long;
                    break;
                }
            }
            self.read_to += len;
            let known = line.len().saturating_sub(KNOWN_BY);
            let known = line.split_off(known);
            self.know(self.read_to - known.len() as u64, known);
        }
        Ok(())
    }

    /// Goes to where the last reading ended, or to the start of another file.
    pub(super) fn resume<T: Read + Seek>(&mut self, mut input: T) -> io::Result<BufReader<T>> {
        let (at, known) = &self.known_by;
        let mut there = vec![0; known.len()];
        input.seek(SeekFrom::Start(*at))?;
        let is_same = match input.read_exact(&mut there) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            read => read.map(|()| there == *known)?,
        };
        if !is_same {
            *self = Self::default();
        }
        input.seek(SeekFrom::Start(self.read_to))?;
        Ok(BufReader::new(input))
    }

    /// Remembers what stands there in the file.
    pub(super) fn know(&mut self, at: u64, bytes: Vec<u8>) {
        self.known_by = (at, bytes);
    }

    /// Whether no more names are kept.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES || self.len >= MAX_NAMES
    }

    /// Enters what was written last.
    pub(super) fn insert(&mut self, (start, end, name): Entry) {
        // What lies in the new one's place is gone, as a whole.
        let before = self.entries.range(..start).next_back();
        if let Some((&at, &(until, _))) = before
            && until > start
        {
            self.remove(at);
        }
        while let Some((&at, _)) = self.entries.range(start..end).next() {
            self.remove(at);
        }
        self.len += name.len();
        self.entries.insert(start, (end, name));
    }

    fn remove(&mut self, start: u64) {
        if let Some((_, name)) = self.entries.remove(&start) {
            self.len -= name.len();
        }
    }

    /// The name of the code at an address.
    pub fn find(&self, addr: RemoteAddr) -> Option<&Arc<str>> {
        let (_, (end, name)) = self.entries.range(..=addr.get()).next_back()?;
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
    use std::io::Cursor;

    use super::*;

    fn name(map: &PerfMap, addr: u64) -> Option<&str> {
        map.find(RemoteAddr::new(addr)).map(|name| &**name)
    }

    fn read(text: &[u8]) -> PerfMap {
        let mut map = PerfMap::default();
        map.read_on(Cursor::new(text)).unwrap();
        map
    }

    /// Names are found inside their ranges, the latest where ranges overlap, and lines that make no sense are left out.
    #[test]
    fn lines() {
        let text = b"1000 100 py::f:/tmp/a b.py\n0x2000 0x10 second\nnonsense\n3000\n\
            3000 0 empty\n-1 5 minus\nffffffffffffffff 2 wraps\n1080 10 newer\n5000 10 cut off";
        let map = read(text);
        assert_eq!(name(&map, 0x1080), Some("newer"));
        assert_eq!(name(&map, 0x1090), None);
        assert_eq!(name(&map, 0x1000), None);
        assert_eq!(name(&map, 0x200f), Some("second"));
        assert_eq!(name(&map, 0x2010), None);
        assert_eq!(name(&map, 0x5000), None);
        assert_eq!(map.len(), 2);
        let map = read(b"1000 100 py::f:/tmp/a b.py\n");
        assert_eq!(name(&map, 0x10ff), Some("py::f:/tmp/a b.py"));
    }

    /// A line of any length costs no memory, and what follows it is read, wherever readings end.
    #[test]
    fn endless_lines() {
        let mut text = b"1000 10 ".to_vec();
        text.extend(vec![b'x'; 1 << 20]);
        let half = text.len() - 3000;
        text.extend(b"\n2000 10 after\n");
        for ends in [vec![], vec![half], vec![5000, half]] {
            let mut map = PerfMap::default();
            for end in ends.into_iter().chain([text.len()]) {
                map.read_on(Cursor::new(&text[..end])).unwrap();
            }
            assert_eq!((map.len(), name(&map, 0x2001)), (1, Some("after")));
        }
    }

    /// What has been read is not read again, whatever part of a line is there at first; and a file that is another one by now is read from its start.
    #[test]
    fn what_is_new() {
        let text = b"1000 100 first\n2000 100 second\n3000 100 third\n";
        let mut map = PerfMap::default();
        for end in 0..=text.len() {
            map.read_on(Cursor::new(&text[..end])).unwrap();
            let whole = text[..end].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(map.len(), whole, "{end}");
        }
        let mut damaged = text.to_vec();
        damaged[..15].fill(b'?');
        map.read_on(Cursor::new(&damaged)).unwrap();
        assert_eq!(map.len(), 3);
        let other = b"1000 100 other\n2000 100 others\n4000 100 others\n5000 100 last\n";
        map.read_on(Cursor::new(other)).unwrap();
        assert_eq!((map.len(), name(&map, 0x1000)), (4, Some("other")));
        map.read_on(Cursor::new(b"")).unwrap();
        assert!(map.is_empty());
    }

    /// Names take no more than so much, however many and long they are.
    #[test]
    fn all_names() {
        let mut text = Vec::new();
        for start in 0..20_000 {
            text.extend(format!("{:x} 1 ", start + 1).bytes());
            text.extend(vec![0xff; 4000]);
            text.push(b'\n');
        }
        let map = read(&text);
        assert!(map.len < MAX_NAMES + 3 * 4096, "{}", map.len);
        assert!(map.len() < 20_000);
    }
}
