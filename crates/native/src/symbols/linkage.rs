use std::collections::HashMap;

use object::elf::Rela64;
use object::{LittleEndian, slice_from_bytes};

use crate::ImageAddress;
use crate::arch::{Architecture, StubTarget};
use crate::image::{Image, SectionName};

/// The functions that an object's stubs jump to, by the relocations that have their
/// addresses filled in.
#[derive(Debug)]
pub(crate) struct Linkage {
    /// In the order of `.rela.plt`, by which some stubs name theirs.
    numbered: Vec<Function>,
    /// By the place of the address.
    slots: HashMap<u64, Function>,
}

/// What is jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// A symbol, by its place in `.dynsym`.
    Symbol(u32),
    /// A function of the object itself, which says at run time which variant of it to
    /// take.
    At(ImageAddress),
}

/// Relocations kept of a section. Chromium has some thousand.
const MAX_KEPT: usize = 1 << 20;

impl Linkage {
    /// Reads the relocations of an object.
    pub(crate) fn read(image: &Image, arch: &Architecture) -> Self {
        let read = |name| {
            let section = image.section(name);
            let functions = section.and_then(|section| section.once(|bytes| all(bytes, arch)));
            functions.unwrap_or_default()
        };
        let of_stubs = read(SectionName::RelaPlt);
        // Where a program takes a function's address as well, a stub uses that.
        let others = read(SectionName::RelaDyn);
        Self {
            numbered: of_stubs.iter().map(|(_, function)| *function).collect(),
            slots: others.into_iter().chain(of_stubs).collect(),
        }
    }

    /// What a stub jumps to.
    pub(crate) fn function(&self, target: StubTarget) -> Option<Function> {
        match target {
            StubTarget::Slot(slot) => self.slots.get(&slot.get()),
            StubTarget::Numbered(number) => self.numbered.get(usize::try_from(number).ok()?),
        }
        .copied()
    }
}

/// The places of functions' addresses in a table of relocations, with the functions.
fn all(table: &[u8], arch: &Architecture) -> Vec<(u64, Function)> {
    let count = table.len() / size_of::<Rela64<LittleEndian>>();
    let relocations = slice_from_bytes::<Rela64<LittleEndian>>(table, count);
    let Ok((relocations, _)) = relocations else {
        return Vec::new();
    };
    let functions = relocations.iter().filter_map(|relocation| {
        let endian = LittleEndian;
        let place = relocation.r_offset.get(endian);
        let symbol = relocation.r_sym(endian, false);
        let function = match symbol {
            0 if relocation.r_type(endian, false) == arch.indirect_relocation => {
                let address = relocation.r_addend.get(endian).cast_unsigned();
                Function::At(ImageAddress::new(address))
            }
            0 => return None,
            symbol => Function::Symbol(symbol),
        };
        Some((place, function))
    });
    functions.take(MAX_KEPT).collect()
}
