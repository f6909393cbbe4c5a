use std::ffi::OsStr;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use firefinch_memory::RemoteAddr;

/// What a mapping permits the target to do, and whether it is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Perms {
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `x`
    pub exec: bool,
    /// `s`: writes are seen by others who map the same thing.
    pub shared: bool,
}

/// The device number of a file system, as `maps` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What stands behind a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// Private memory without a name.
    Anonymous,
    /// A file, by its path as the kernel shows it to us: seen from our root
    /// if the file can be reached from there, else from the root of the mount
    /// namespace it lives in. Includes `/memfd:NAME`, `/dev/zero` and
    /// `/SYSV…`, which are always deleted.
    File {
        /// The path, without the ` (deleted)` mark.
        path: Arc<Path>,
        /// The kernel says the file has been unlinked. A file whose real name
        /// ends in ` (deleted)` looks the same.
        deleted: bool,
    },
    /// `[heap]`: grown by `brk`.
    Heap,
    /// `[stack]`: of the main thread.
    Stack,
    /// `[vdso]`: code the kernel lends to every process.
    Vdso,
    /// Anything else: `[vvar]`, `[vsyscall]`, `[anon:NAME]`, `anon_inode:…`.
    Other(Arc<OsStr>),
}

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first byte.
    pub start: RemoteAddr,
    /// One past the last byte; above `start`.
    pub end: RemoteAddr,
    /// What the target may do with it.
    pub perms: Perms,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// The file system of the file, zero without one.
    pub device: Device,
    /// The file's inode, zero without one.
    pub inode: u64,
    /// What stands behind it.
    pub backing: Backing,
}

impl Mapping {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.end.get().saturating_sub(self.start.get())
    }

    /// Whether it has no bytes at all: never, for a mapping from the kernel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the address lies inside.
    pub fn contains(&self, addr: RemoteAddr) -> bool {
        self.start <= addr && addr < self.end
    }

    /// The path of the file behind it, deleted or not.
    pub fn path(&self) -> Option<&Path> {
        match &self.backing {
            Backing::File { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// vm.max_map_count is 65,530 by default and 1,048,576 on some distributions;
/// more lines than four times that are not a process but an attack.
const MAX_MAPPINGS: usize = 4 << 20;

/// The numbers, then a path of at most PATH_MAX (4,096) bytes of which each
/// may be escaped into four.
const MAX_LINE: u64 = 128 + 4 * 4096;

/// Reads a whole `maps` file. The kernel writes it a page at a time, so
/// mappings changed meanwhile may appear twice, in part, or not at all.
pub(crate) fn read(input: impl Read) -> io::Result<Vec<Mapping>> {
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
/// back wrongly, and is then not found by path but still by inode.
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
