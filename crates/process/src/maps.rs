use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use firefinch_memory::RemoteAddr;

use crate::mapping::{Backing, Device, Mapping, Perms};
use crate::{AccessError, Errno, Process, Step};

/// vm.max_map_count is 65,530 by default and 1,048,576 on some distributions;
/// more lines than four times that are not a process but an attack.
const MAX_MAPPINGS: usize = 4 << 20;

/// The numbers, then a path of at most PATH_MAX (4,096) bytes of which each
/// may be escaped into four.
const MAX_LINE: u64 = 128 + 4 * 4096;

impl Process {
    /// Its mappings, in address order.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted; ESRCH if it has no memory any more.
    pub fn maps(&self) -> Result<Vec<Mapping>, AccessError> {
        let error = |e: io::Error| AccessError::io(self.pid(), Step::ReadMaps, &e);
        let name = format!("task/{}/maps", self.image_task());
        let file = self.dir().open_file(&name).map_err(error)?;
        let mappings = read(file).map_err(error)?;
        if mappings.is_empty() {
            return Err(AccessError::new(self.pid(), Step::ReadMaps, Errno::ESRCH));
        }
        Ok(mappings)
    }
}

/// Reads a whole `maps` file. The kernel writes it a page at a time, so
/// mappings changed meanwhile may appear twice, in part, or not at all.
fn read(input: impl Read) -> io::Result<Vec<Mapping>> {
    let mut input = io::BufReader::with_capacity(16 * 1024, input);
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = input.by_ref().take(MAX_LINE);
        bounded.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(mappings);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let previous = mappings.last().map(|m| &m.backing);
        let mapping = parse_line(text, previous);
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "unexpected line in maps");
        mappings.push(mapping.ok_or_else(bad)?);
        if mappings.len() > MAX_MAPPINGS {
            return Err(io::Error::other("too many mappings"));
        }
    }
}

/// One line (fs/proc/task_mmu.c, `show_vma_header_prefix`): `start-end perms
/// offset major:minor inode`, blanks, and the path. A path equal to the
/// previous line's shares its memory.
fn parse_line(line: &[u8], previous: Option<&Backing>) -> Option<Mapping> {
    let (range, rest) = split_at(line, b' ')?;
    let (start, end) = split_at(range, b'-')?;
    let (perms, rest) = split_at(rest, b' ')?;
    let (offset, rest) = split_at(rest, b' ')?;
    let (device, rest) = split_at(rest, b' ')?;
    let (major, minor) = split_at(device, b':')?;
    let (inode, name) = split_at(rest, b' ').unwrap_or((rest, b""));
    let (start, end) = (hex(start)?, hex(end)?);
    if start >= end || perms.len() != 4 {
        return None;
    }
    // The kernel pads with blanks and then writes the name; a name begins
    // with `/` or `[` or a letter, so leading blanks are never part of it.
    let name = name.trim_ascii_start();
    Some(Mapping {
        start: RemoteAddr::new(start),
        end: RemoteAddr::new(end),
        perms: Perms {
            read: perms.first() == Some(&b'r'),
            write: perms.get(1) == Some(&b'w'),
            exec: perms.get(2) == Some(&b'x'),
            shared: perms.get(3) == Some(&b's'),
        },
        offset: hex(offset)?,
        device: Device {
            major: u32::try_from(hex(major)?).ok()?,
            minor: u32::try_from(hex(minor)?).ok()?,
        },
        inode: std::str::from_utf8(inode).ok()?.parse().ok()?,
        backing: parse_name(name, previous),
    })
}

fn parse_name(name: &[u8], previous: Option<&Backing>) -> Backing {
    match name {
        b"" => return Backing::Anonymous,
        b"[heap]" => return Backing::Heap,
        b"[stack]" => return Backing::Stack,
        b"[vdso]" => return Backing::Vdso,
        _ => {}
    }
    let name = unescape(name);
    if !name.starts_with(b"/") {
        return Backing::Other(OsStr::from_bytes(&name).into());
    }
    let (path, deleted) = strip_deleted(&name);
    if let Some(Backing::File { path: old, .. }) = previous
        && old.as_os_str().as_bytes() == path
    {
        let path = Arc::clone(old);
        return Backing::File { path, deleted };
    }
    Backing::File {
        path: Path::new(OsStr::from_bytes(path)).into(),
        deleted,
    }
}

/// Separates the mark that `d_path` appends to an unlinked file's path.
pub(crate) fn strip_deleted(name: &[u8]) -> (&[u8], bool) {
    match name.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (name, false),
    }
}

/// `maps` escapes the newline and nothing else, not even the backslash
/// (`seq_file_path(m, file, "\n")`): a path that really contains `\012` reads
/// back wrongly. `Process::open_module` tries that reading as well.
fn unescape(name: &[u8]) -> Vec<u8> {
    const NEWLINE: &[u8] = b"\\012";
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(NEWLINE) {
            out.push(b'\n');
            rest = tail;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

fn split_at(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn hex(text: &[u8]) -> Option<u64> {
    if text.first().is_none_or(|b| !b.is_ascii_hexdigit()) {
        return None; // from_str_radix would accept a sign
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &[u8]) -> Mapping {
        let mappings = read(line).unwrap();
        assert_eq!(mappings.len(), 1);
        mappings[0].clone()
    }

    fn named(name: &[u8]) -> Backing {
        one(&[b"1000-2000 r-xp 00000000 08:01 7    ", name, b"\n"].concat()).backing
    }

    fn file(path: &[u8], deleted: bool) -> Backing {
        Backing::File {
            path: Path::new(OsStr::from_bytes(path)).into(),
            deleted,
        }
    }

    /// Every field of a line ends up where it belongs.
    #[test]
    fn fields() {
        let line = b"7f5c8a000000-7f5c8a021000 rw-s 0001f000 fe:1c 18446744073709551615     /a b\n";
        let mapping = one(line);
        assert_eq!(mapping.start.get(), 0x7f5c_8a00_0000);
        assert_eq!(mapping.len(), 0x21000);
        let perms = Perms {
            read: true,
            write: true,
            exec: false,
            shared: true,
        };
        assert_eq!(mapping.perms, perms);
        assert_eq!(mapping.offset, 0x1f000);
        let device = Device {
            major: 0xfe,
            minor: 0x1c,
        };
        assert_eq!(mapping.device, device);
        assert_eq!(mapping.inode, u64::MAX);
        assert_eq!(mapping.backing, file(b"/a b", false));
        assert!(mapping.contains(mapping.start) && !mapping.contains(mapping.end));
    }

    /// Names are told apart by what the kernel can write, not by what a file may be called.
    #[test]
    fn names() {
        assert_eq!(
            one(b"1000-2000 r-xp 0 00:00 0\n").backing,
            Backing::Anonymous
        );
        assert_eq!(
            one(b"1000-2000 r-xp 0 00:00 0 \n").backing,
            Backing::Anonymous
        );
        assert_eq!(named(b"[heap]"), Backing::Heap);
        assert_eq!(named(b"[stack]"), Backing::Stack);
        assert_eq!(named(b"[vdso]"), Backing::Vdso);
        for other in [
            "[anon: a b]",
            "[vvar]",
            "anon_inode:[perf_event]",
            "socket:[7]",
        ] {
            assert_eq!(
                named(other.as_bytes()),
                Backing::Other(OsStr::new(other).into())
            );
        }
        assert_eq!(named(b"/x (deleted)"), file(b"/x", true));
        assert_eq!(
            named(b"/x (deleted) (deleted)"),
            file(b"/x (deleted)", true)
        );
        assert_eq!(named(b"/ (deleted)x"), file(b"/ (deleted)x", false));
        assert_eq!(named(b"/[heap]"), file(b"/[heap]", false));
        assert_eq!(named(b"/a\\012b\\013"), file(b"/a\nb\\013", false));
        assert_eq!(named(b"/tail  "), file(b"/tail  ", false));
        assert_eq!(named(b"/\xff\t\r"), file(b"/\xff\t\r", false));
        assert_eq!(named(b"/memfd:x (deleted)"), file(b"/memfd:x", true));
    }

    /// Any name at all, written the way the kernel writes it, reads back the same, alone or between other lines.
    #[test]
    fn any_name_reads_back() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % below as u64).unwrap()
        };
        let pieces: [&[u8]; 14] = [
            b" ",
            b"\n",
            b"(deleted)",
            b" (deleted)",
            b"[heap]",
            b"/",
            b"-",
            b"\t",
            b":",
            b"\xff\xfe",
            b"\\",
            b"012",
            b"r-xp 00000000",
            b"\xf0\x9f\x90\xa6",
        ];
        for _ in 0..20_000 {
            let mut name = b"/".to_vec();
            for _ in 0..next(8) {
                name.extend(pieces[next(pieces.len())]);
            }
            // The one ambiguity the kernel leaves, see `unescape`.
            if name.windows(4).any(|w| w == b"\\012") {
                continue;
            }
            let deleted = next(2) == 1;
            let mut text = b"1000-2000 r-xp 00000000 08:01 7 /before\n".to_vec();
            text.extend(b"2000-3000 r-xp 00000000 08:01 8                          ");
            let escaped = name.iter().flat_map(|b| match b {
                b'\n' => b"\\012".to_vec(),
                b => vec![*b],
            });
            text.extend(escaped);
            if deleted {
                text.extend(b" (deleted)");
            }
            text.extend(b"\n3000-4000 r-xp 00000000 00:00 0 \n");
            let mappings = read(&text[..]).unwrap();
            assert_eq!(mappings.len(), 3);
            assert_eq!(mappings[2].backing, Backing::Anonymous);
            // A name that itself ends like the mark is taken for marked.
            let (path, marked) = strip_deleted(&name);
            let expected = match (deleted, marked) {
                (true, _) => file(&name, true),
                (false, marked) => file(path, marked),
            };
            assert_eq!(mappings[1].backing, expected);
        }
    }

    /// Lines of one file share its path in memory.
    #[test]
    fn paths_are_shared() {
        let text = b"1000-2000 r--p 0 08:01 7 /x\n2000-3000 r-xp 0 08:01 7 /x\n";
        let mappings = read(&text[..]).unwrap();
        let paths: Vec<&Path> = mappings.iter().filter_map(Mapping::path).collect();
        assert!(std::ptr::eq(paths[0], paths[1]));
    }

    /// Whatever is cut off or replaced in a file, the reader answers with an error or with sound mappings, and never panics.
    #[test]
    fn damaged_files() {
        let text: &[u8] = b"1000-2000 r-xp 00000000 08:01 7    /x y\n\
            7fff00000000-7fff00001000 rw-p 00000000 00:00 0     [stack]\n";
        for at in 0..text.len() {
            let sound = |bytes: &[u8]| {
                for mapping in read(bytes).unwrap_or_default() {
                    assert!(mapping.start < mapping.end);
                }
            };
            sound(&text[..at]);
            for byte in [0, b' ', b'-', b'+', b'f', b'\n', 0xff] {
                let mut damaged = text.to_vec();
                damaged[at] = byte;
                sound(&damaged);
            }
        }
        for bad in [
            "\n",
            "2000-1000 r-xp 0 08:01 7\n",
            "1000-1000 r-xp 0 08:01 7\n",
            "+1-2 r-xp 0 08:01 7\n",
            "1-2 r-x 0 08:01 7\n",
            "1-2 r-xp 0 8 7\n",
            "1-2 r-xp 0 8:1 \n",
            "1-10000000000000000 r-xp 0 8:1 1\n",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let long = [b"1000-2000 r-xp 0 08:01 7 /".to_vec(), vec![b'x'; 1 << 20]].concat();
        assert!(read(&long[..]).is_err());
    }
}
