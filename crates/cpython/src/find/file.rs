use std::cell::Cell;
use std::io::{Read, Seek};
use std::ops::Range;

use firefinch_memory::RemoteAddr;
use object::read::elf::ElfFile64;
use object::read::{ReadCache, ReadRef};
use object::{Object, ObjectSection, ObjectSymbol};

/// What can be read of an object file.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// Bytes of all files together that one search reads and keeps while it looks at a
/// file: the symbols of the largest program that embeds an interpreter take some
/// 100 MB, those of Python 2. The lengths of tables are what the file says they are, and
/// a file may be longer than any memory and take no place on its disk.
pub(super) const MAX_READ: u64 = 256 << 20;
/// What a name costs beside its characters.
const NAME: u64 = 64;

/// A file of which only so much more can be read.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    cache: &'a ReadCache<Box<dyn ReadSeek>>,
    left: &'a Cell<u64>,
}

impl Bounded<'_> {
    fn spend(self, bytes: u64) -> Result<(), ()> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(())
    }
}

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.cache.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.spend(size)?;
        self.cache.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.spend(NAME)?;
        let text = self.cache.read_bytes_at_until(range, delimiter)?;
        self.spend(text.len() as u64)?;
        Ok(text)
    }
}

/// What the file of an image adds to what is mapped: its sections and local
/// symbols, which a stripped file lacks.
#[derive(Debug, Default)]
pub(super) struct FileSymbols {
    /// Start of the section `.PyRuntime` (3.11 and later put the runtime there).
    pub(super) runtime_section: Option<RemoteAddr>,
    found: Vec<(&'static str, RemoteAddr)>,
}

impl FileSymbols {
    /// Looks for `names` among all symbols; addresses are moved by `bias`. At most so
    /// many bytes as are `left` are read, and there are fewer afterwards.
    pub(super) fn read(
        file: Box<dyn ReadSeek>,
        bias: u64,
        names: &[&'static str],
        left: &Cell<u64>,
    ) -> Self {
        let cache = &ReadCache::new(file);
        let bounded = Bounded { cache, left };
        let Ok(elf) = ElfFile64::<object::Endianness, _>::parse(bounded) else {
            return Self::default();
        };
        let mapped = |addr: u64| RemoteAddr::new(addr.wrapping_add(bias));
        let runtime_section = elf
            .section_by_name(".PyRuntime")
            .map(|section| mapped(section.address()));
        let mut found = Vec::new();
        for symbol in elf.symbols().filter(|s| !s.is_undefined()) {
            let Ok(name) = symbol.name_bytes() else {
                continue;
            };
            if let Some(name) = names.iter().find(|n| n.as_bytes() == name) {
                found.push((*name, mapped(symbol.address())));
            }
        }
        Self {
            runtime_section,
            found,
        }
    }

    pub(super) fn symbol(&self, name: &str) -> Option<RemoteAddr> {
        let hit = self.found.iter().find(|(n, _)| *n == name)?;
        Some(hit.1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, SeekFrom};
    use std::rc::Rc;

    use super::*;

    /// A file of zeros behind a few bytes, that counts what is read of it.
    struct Sparse {
        head: Vec<u8>,
        len: u64,
        at: u64,
        read: Rc<Cell<u64>>,
    }

    impl Read for Sparse {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let rest = self.len.saturating_sub(self.at);
            let count = usize::try_from(rest).unwrap().min(buf.len());
            let at = usize::try_from(self.at).unwrap();
            for (index, byte) in buf[..count].iter_mut().enumerate() {
                *byte = self.head.get(at + index).copied().unwrap_or(0);
            }
            self.at += count as u64;
            self.read.set(self.read.get() + count as u64);
            Ok(count)
        }
    }

    impl Seek for Sparse {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.at = match to {
                SeekFrom::Start(at) => at,
                SeekFrom::End(by) => self.len.saturating_add_signed(by),
                SeekFrom::Current(by) => self.at.saturating_add_signed(by),
            };
            Ok(self.at)
        }
    }

    /// An ELF file whose table of symbols is said to begin at 4,096 and be so long.
    fn claiming(symbols: u64) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        let mut put = |at: usize, bytes: &[u8]| {
            let len = file.len().max(at + bytes.len());
            file.resize(len, 0);
            file[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(16, &3_u16.to_le_bytes());
        put(18, &62_u16.to_le_bytes());
        put(20, &1_u32.to_le_bytes());
        put(40, &64_u64.to_le_bytes());
        put(52, &64_u16.to_le_bytes());
        put(58, &64_u16.to_le_bytes());
        put(60, &3_u16.to_le_bytes());
        put(62, &2_u16.to_le_bytes());
        let sections = [
            (1, 2_u32, 4096, symbols, 2_u32, 24),
            (2, 3, 1024, 512, 0, 0),
        ];
        for (index, kind, offset, size, link, entry) in sections {
            let at = 64 + 64 * index;
            put(at + 4, &kind.to_le_bytes());
            put(at + 24, &u64::to_le_bytes(offset));
            put(at + 32, &u64::to_le_bytes(size));
            put(at + 40, &link.to_le_bytes());
            put(at + 56, &u64::to_le_bytes(entry));
        }
        put(1025, b"_PyRuntime\0");
        put(4096 + 24, &1_u32.to_le_bytes());
        put(4096 + 24 + 6, &1_u16.to_le_bytes());
        put(4096 + 24 + 8, &0x1234_u64.to_le_bytes());
        file
    }

    /// A table of symbols as long as a sparse file says is not read; one of a
    /// plausible length is, and only once as much as is left.
    #[test]
    fn tables_without_end() {
        let look = |symbols, left| {
            let read = Rc::new(Cell::new(0));
            let file = Sparse {
                head: claiming(symbols),
                len: 64 << 30,
                at: 0,
                read: read.clone(),
            };
            let left = Cell::new(left);
            let found = FileSymbols::read(Box::new(file), 0, &["_PyRuntime"], &left);
            (found.symbol("_PyRuntime").is_some(), read.get())
        };
        assert!(look(4_800, MAX_READ).0);
        assert!(!look(4_800, 4_800).0);
        let (found, read) = look(24 << 26, MAX_READ);
        assert!(!found && read < 1 << 20, "{read} bytes");
    }
}
