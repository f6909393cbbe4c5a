use std::io::{self, BufRead, BufReader, Read, Seek};
use std::sync::Arc;

use firefinch_memory::Bytes;

use super::PerfMap;

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

/// Records read at most.
const MAX_RECORDS: usize = 1 << 20;
/// The longest name.
const MAX_NAME: u64 = 4096;

impl PerfMap {
    /// Reads the other form of such a file, `jit-PID.dump`, as far as it goes:
    /// a header, then records with the name of some code, its place, and a copy
    /// of it, which is passed over (tools/perf/Documentation/jitdump-specification.txt
    /// in Linux). CPython writes it with `-X perf_jit`
    /// (Python/perf_jit_trampoline.c, from 3.13 on).
    ///
    /// # Errors
    /// As of `input`.
    pub fn read_dump(input: impl Read + Seek) -> io::Result<Self> {
        let mut input = BufReader::new(input);
        let mut found = Vec::new();
        let Some(header) = head::<HEADER>(&mut input)? else {
            return Ok(Self::default());
        };
        let len = Bytes(&header).u32(8).unwrap_or(0) as usize;
        if Bytes(&header).u32(0) != Some(MAGIC) || len < HEADER {
            return Ok(Self::default());
        }
        input.seek_relative(i64::try_from(len - HEADER).unwrap_or(0))?;
        for _ in 0..MAX_RECORDS {
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
                rest -= input.by_ref().take(most).read_until(0, &mut name)? as u64;
                found.extend(entry(&load, &name));
            }
            input.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
        }
        Ok(Self::of(found))
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

fn entry(load: &[u8], name: &[u8]) -> Option<(u64, u64, Arc<str>)> {
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

    /// Names are found at their code whatever lies between the records, the newest where memory was used again, and what is cut off or no such file gives what there is.
    #[test]
    fn records() {
        let whole = dump(&[
            record(4, &[1; 100]),
            load(0x1000, &[0; 64], "first"),
            load(0x2000, &[0; 16], "second"),
            load(0x1010, &[0; 16], "newer"),
        ]);
        let read = |bytes: &[u8]| PerfMap::read_dump(Cursor::new(bytes.to_vec())).unwrap();
        let name = |map: &PerfMap, addr| map.find(RemoteAddr::new(addr)).map(|n| n.to_string());
        let map = read(&whole);
        assert_eq!(name(&map, 0x200f).as_deref(), Some("second"));
        assert_eq!(name(&map, 0x1010).as_deref(), Some("newer"));
        assert_eq!(name(&map, 0x1000), None);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).len() <= 2);
        }
        assert!(read(b"1000 10 a perf map\n").is_empty());
        let mut endless = dump(&[load(0x1000, &[0; 64], "first")]);
        endless.extend([0; 16]);
        assert_eq!(read(&endless).len(), 1);
        let huge = dump(&[load(u64::MAX, &[0; 64], "wraps"), record(9, &[])]);
        assert!(read(&huge).is_empty());
    }
}
