use std::io::{Read, Seek};

use firefinch_memory::RemoteAddr;
use object::read::ReadCache;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};

/// What can be read of an object file.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// What the file of an image adds to what is mapped: its sections and local
/// symbols, which a stripped file lacks.
#[derive(Debug, Default)]
pub(super) struct FileSymbols {
    /// Start of the section `.PyRuntime` (3.11 and later put the runtime there).
    pub(super) runtime_section: Option<RemoteAddr>,
    found: Vec<(&'static str, RemoteAddr)>,
}

impl FileSymbols {
    /// Looks for `names` among all symbols; addresses are moved by `bias`.
    pub(super) fn read(file: Box<dyn ReadSeek>, bias: u64, names: &[&'static str]) -> Self {
        let cache = ReadCache::new(file);
        let Ok(elf) = ElfFile64::<object::Endianness, _>::parse(&cache) else {
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
