use std::io::{self, BufRead, Read, Seek};

use firefinch_memory::Bytes;

use super::PerfMap;
use super::perf_map::Entry;

/// The first word of the file, in the byte order of the machine that wrote it.
const MAGIC: u32 = 0x4a69_5444;

/// The file's header without what later versions append.
const HEADER: usize = 40;
/// What each record begins with: kind, size, time.
const PREFIX: usize = 16;
/// What follows that in a record of new code, before the name.
const LOAD: usize = 40;
/// The kind of such a record. Code that moves (kind 1) is of JITs for Java.
const CODE_LOAD: u32 = 0;

/// Records read at a time.
const MAX_RECORDS: usize = 1 << 20;
/// The longest name.
const MAX_NAME: u64 = 4096;

impl PerfMap {
    /// Reads what the other form of such a file, `jit-PID.dump`, has that was not read yet:
    /// a header, then records with the name of some code, its place, and a copy
    /// of it, which is passed over (tools/perf/Documentation/jitdump-specification.txt
    /// in Linux). CPython writes it with `-X perf_jit`
    /// (Python/perf_jit_trampoline.c, from 3.13 on).
    ///
    /// # Errors
    /// As of `input`.
    pub fn read_dump_on(&mut self, input: impl Read + Seek) -> io::Result<()> {
        let mut input = self.resume(input)?;
        if self.read_to == 0 {
            let Some(header) = head::<HEADER>(&mut input)? else {
                return Ok(());
            };
            let len = Bytes(&header).u32(8).unwrap_or(0) as usize;
            if Bytes(&header).u32(0) != Some(MAGIC) || len < HEADER {
                return Ok(());
            }
            input.seek_relative(i64::try_from(len - HEADER).unwrap_or(0))?;
            self.read_to = len as u64;
            // It has the number of the process, and the time.
            self.know(0, header.to_vec());
        }
        for _ in 0..MAX_RECORDS {
            if self.is_full() {
                break;
            }
            let Some(prefix) = head::<PREFIX>(&mut input)? else {
                break;
            };
            let kind = Bytes(&prefix).u32(0);
            let len = u64::from(Bytes(&prefix).u32(4).unwrap_or(0));
            let Some(mut rest) = len.checked_sub(PREFIX as u64) else {
                break;
            };
            if kind == Some(CODE_LOAD) && rest >= LOAD as u64 {
                let Some(load) = head::<LOAD>(&mut input)? else {
                    break;
                };
                rest -= LOAD as u64;
                let mut name = Vec::new();
                let most = rest.min(MAX_NAME);
                let read = input.by_ref().take(most).read_until(0, &mut name)? as u64;
                if read < most && !name.ends_with(b"\0") {
                    // Not written to its end yet.
                    break;
                }
                rest -= read;
                if let Some(entry) = entry(&load, &name) {
                    self.insert(entry);
                }
            }
            input.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
            self.read_to += len;
        }
        Ok(())
    }
}

/// The next bytes; `None` where the file ends before.
fn head<const N: usize>(input: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match input.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry(load: &[u8], name: &[u8]) -> Option<Entry> {
    let start = Bytes(load).u64(16)?;
    let end = start.checked_add(Bytes(load).u64(24)?)?;
    let name = String::from_utf8_lossy(name.strip_suffix(b"\0")?);
    (start < end && !name.is_empty()).then(|| (start, end, name.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use firefinch_memory::RemoteAddr;

    use super::*;

    fn record(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(PREFIX + body.len()).unwrap().to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        bytes
    }

    fn load(start: u64, code: &[u8], name: &str) -> Vec<u8> {
        let mut body = vec![0; 16];
        body.extend(start.to_le_bytes());
        body.extend((code.len() as u64).to_le_bytes());
        body.extend([0; 8]);
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(code);
        record(CODE_LOAD, &body)
    }

    fn dump(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([1u32, 48].map(u32::to_le_bytes).concat());
        bytes.extend([0; 36]);
        bytes.extend(records.concat());
        bytes
    }

    /// Names are found at their code whatever lies between the records, the newest where memory was used again, what is cut off or no such file gives what there is, and what comes later is read later.
    #[test]
    fn records() {
        let whole = dump(&[
            record(4, &[1; 100]),
            load(0x1000, &[0; 64], "first"),
            load(0x2000, &[0; 16], "second"),
            load(0x1010, &[0; 16], "newer"),
        ]);
        let read_on =
            |map: &mut PerfMap, bytes: &[u8]| map.read_dump_on(Cursor::new(bytes.to_vec()));
        let read = |bytes: &[u8]| {
            let mut map = PerfMap::default();
            read_on(&mut map, bytes).unwrap();
            map
        };
        let name = |map: &PerfMap, addr| map.find(RemoteAddr::new(addr)).map(|n| n.to_string());
        let map = read(&whole);
        assert_eq!(name(&map, 0x200f).as_deref(), Some("second"));
        assert_eq!(name(&map, 0x1010).as_deref(), Some("newer"));
        assert_eq!(name(&map, 0x1000), None);
        let mut growing = PerfMap::default();
        for len in 0..=whole.len() {
            assert!(read(&whole[..len]).len() <= 2);
            read_on(&mut growing, &whole[..len]).unwrap();
            assert_eq!(growing.len(), read(&whole[..len]).len(), "{len}");
        }
        assert_eq!(name(&growing, 0x1010).as_deref(), Some("newer"));
        let mut other = dump(&[load(0x5000, &[0; 64], "other")]);
        other[20] = 1;
        read_on(&mut growing, &other).unwrap();
        assert_eq!(growing.len(), 1);
        assert!(read(b"1000 10 a perf map\n").is_empty());
        let mut endless = dump(&[load(0x1000, &[0; 64], "first")]);
        endless.extend([0; 16]);
        assert_eq!(read(&endless).len(), 1);
        let huge = dump(&[load(u64::MAX, &[0; 64], "wraps"), record(9, &[])]);
        assert!(read(&huge).is_empty());
    }
}
