use std::sync::Arc;

use firefinch_memory::Bytes;
use object::LittleEndian;
use object::elf::{self, Sym64};

use crate::ImageAddress;
use crate::image::{Image, SectionName};

/// The functions that a symbol table names.
#[derive(Debug)]
pub(crate) struct SymbolTable {
    image: Arc<Image>,
    strings: SectionName,
    /// By start, the best of each start.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u64,
    /// 0: not stated.
    size: u64,
    name: u32,
}

/// How many entries before an address are looked at for one that holds it:
/// labels inside a function are entries too.
const MAX_BACK: usize = 32;

/// The longest name that is read.
const MAX_NAME: usize = 64 << 10;

impl SymbolTable {
    /// Reads `.symtab` or `.dynsym`; `None` if the file has none.
    pub(crate) fn read(image: &Arc<Image>, dynamic: bool) -> Option<Self> {
        let (symbols, strings) = if dynamic {
            (SectionName::Dynsym, SectionName::Dynstr)
        } else {
            (SectionName::Symtab, SectionName::Strtab)
        };
        let entries = image.section(symbols)?.once(entries)??;
        Some(Self {
            image: Arc::clone(image),
            strings,
            entries,
        })
    }

    /// The name of the function at an address. `function` is where the unwind
    /// information says that it starts: what lies before is another function.
    pub(super) fn find(
        &self,
        address: ImageAddress,
        function: Option<ImageAddress>,
    ) -> Option<String> {
        let floor = function.map_or(0, ImageAddress::get);
        let entry = self.entry(address.get(), floor)?;
        self.name(entry.name)
    }

    /// Where the function at an address starts.
    pub(crate) fn start(&self, address: ImageAddress) -> Option<ImageAddress> {
        let entry = self.entry(address.get(), 0)?;
        Some(ImageAddress::new(entry.start))
    }

    fn entry(&self, address: u64, floor: u64) -> Option<&Entry> {
        let after = self.entries.partition_point(|e| e.start <= address);
        let before = self.entries.get(..after)?.iter().rev();
        let mut before = before.take(MAX_BACK).take_while(|e| e.start >= floor);
        before.find(|e| {
            // Hand-written code often states no size: then it goes on to the
            // next symbol, which comes after the address.
            e.size == 0 || address - e.start < e.size
        })
    }

    fn name(&self, offset: u32) -> Option<String> {
        text(&self.image, self.strings, offset)
    }
}

/// The name of a dynamic symbol by its place in the table.
pub(super) fn dynamic_name(image: &Image, index: u32) -> Option<String> {
    let table = image.section(SectionName::Dynsym)?.data()?;
    let size = size_of::<Sym64<LittleEndian>>();
    let start = usize::try_from(index).ok()?.checked_mul(size)?;
    // Its first word is the name (elf.h, `Elf64_Sym`).
    let offset = Bytes(table)
        .slice(start, size)
        .and_then(|symbol| Bytes(symbol).u32(0));
    text(image, SectionName::Dynstr, offset?)
}

/// A text in a section of texts.
fn text(image: &Image, section: SectionName, offset: u32) -> Option<String> {
    let strings = image.section(section)?.data()?;
    let rest = strings.get(usize::try_from(offset).ok()?..)?;
    let rest = rest.get(..MAX_NAME).unwrap_or(rest);
    let end = rest.iter().position(|byte| *byte == 0)?;
    let name = Bytes(rest).slice(0, end)?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

/// The functions in a table, sorted, the best of each start.
fn entries(table: &[u8]) -> Option<Vec<Entry>> {
    let count = table.len() / size_of::<Sym64<LittleEndian>>();
    let symbols: &[Sym64<LittleEndian>] = object::slice_from_bytes(table, count).ok()?.0;
    let mut entries: Vec<(Entry, u8)> = symbols.iter().filter_map(function).collect();
    entries.sort_unstable_by_key(|(e, rank)| (e.start, *rank, e.name));
    entries.dedup_by_key(|(e, _)| e.start);
    Some(entries.into_iter().map(|(entry, _)| entry).collect())
}

/// A symbol of a function, and how good it is, lowest best.
fn function(symbol: &Sym64<LittleEndian>) -> Option<(Entry, u8)> {
    let endian = LittleEndian;
    let kind = match symbol.st_info & 0xf {
        elf::STT_FUNC | elf::STT_GNU_IFUNC => 0,
        elf::STT_NOTYPE => 4,
        _ => return None,
    };
    let binding = match symbol.st_info >> 4 {
        elf::STB_GLOBAL => 0,
        elf::STB_WEAK => 1,
        _ => 2,
    };
    let start = symbol.st_value.get(endian);
    let name = symbol.st_name.get(endian);
    if symbol.st_shndx.get(endian) == elf::SHN_UNDEF || start == 0 || name == 0 {
        return None;
    }
    let size = symbol.st_size.get(endian);
    Some((Entry { start, size, name }, kind + binding))
}
