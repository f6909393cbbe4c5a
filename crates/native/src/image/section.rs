use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::ObjectBytes;
use super::budget::Held;
use super::bytes::Part;
use super::compressed::{self, Unpacker};
use crate::ImageAddress;

/// A section: where it lies, and its bytes once they were needed.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) address: ImageAddress,
    /// Its size in memory.
    pub(crate) size: u64,
    /// Its bytes in the file, inside it; empty if it has none there.
    file: Range<u64>,
    /// Whether those start with a compression header.
    pub(crate) compressed: bool,
    bytes: ObjectBytes,
    data: Arc<OnceLock<Option<Part>>>,
}

/// Stubs that linkers make to call functions of other objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stub {
    /// `.plt`: entries of 16 bytes that push, after a longer first one.
    Plt,
    /// `.plt.sec`, `.plt.got`, `.iplt`: entries that only jump.
    PltJump,
}

impl Section {
    /// The section that `file`, which has to lie inside it, is of `bytes`.
    pub(super) fn new(
        bytes: &ObjectBytes,
        address: ImageAddress,
        size: u64,
        file: Range<u64>,
    ) -> Self {
        Self {
            address,
            size,
            file,
            compressed: false,
            bytes: bytes.clone(),
            data: Arc::default(),
        }
    }

    /// All of a file as one.
    #[cfg(test)]
    pub(crate) fn of(bytes: &ObjectBytes, compressed: bool) -> Self {
        let section = Self::new(bytes, ImageAddress::new(0), bytes.len(), 0..bytes.len());
        Self {
            compressed,
            ..section
        }
    }

    /// Whether the file has no bytes of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.file.is_empty()
    }

    /// Its bytes, read and unpacked at the first call and kept; `None` if they
    /// cannot be had.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        let data = self.data.get_or_init(|| self.read());
        data.as_ref().map(Part::get)
    }

    /// The same for one use.
    pub(crate) fn once<T>(&self, using: impl FnOnce(&[u8]) -> T) -> Option<T> {
        Some(using(self.read()?.get()))
    }

    /// Part of its bytes, read anew; `None` unless all of it can be had, and of a
    /// section that is compressed.
    pub(crate) fn part(&self, offset: u64, len: u64) -> Option<Part> {
        let start = self.file.start.checked_add(offset)?;
        let end = start.checked_add(len)?;
        let is_within = end <= self.file.end && !self.compressed;
        is_within.then(|| self.bytes.part(start..end)).flatten()
    }

    /// How many bytes the file has of it.
    pub(crate) fn len(&self) -> u64 {
        self.file.end - self.file.start
    }

    /// Unpacks it from its start; `None` if it is not compressed.
    pub(crate) fn unpacker(&self) -> Option<Unpacker<'static>> {
        let packed = self.bytes.reader(self.file.clone())?;
        self.compressed
            .then(|| compressed::unpacker(packed, self.len(), self.bytes.budget()))
            .flatten()
    }

    /// Takes what a copy of so many bytes of it may take.
    pub(crate) fn hold(&self, bytes: u64) -> Option<Held> {
        self.bytes.budget().take(bytes)
    }

    fn read(&self) -> Option<Part> {
        match self.compressed {
            true => self.unpacker()?.all(),
            false => self.bytes.part(self.file.clone()),
        }
    }

    /// How far into the section the address lies.
    pub(crate) fn offset_of(&self, address: ImageAddress) -> Option<u64> {
        let offset = address.get().checked_sub(self.address.get())?;
        (offset < self.size).then_some(offset)
    }
}

/// The sections that anything here uses. A file may have any number of
/// others; nothing of them is kept.
macro_rules! names {
    ($($variant:ident $name:literal,)*) => {
        /// A section by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum SectionName {
            $(#[doc = $name] $variant,)*
        }

        impl SectionName {
            const ALL: &[(&'static str, Self)] = &[$(($name, Self::$variant),)*];
        }
    };
}

names! {
    EhFrame ".eh_frame",
    EhFrameHdr ".eh_frame_hdr",
    DebugFrame ".debug_frame",
    Text ".text",
    Got ".got",
    Plt ".plt",
    PltSec ".plt.sec",
    PltGot ".plt.got",
    Iplt ".iplt",
    RelaPlt ".rela.plt",
    RelaDyn ".rela.dyn",
    NoteGnuBuildId ".note.gnu.build-id",
    Symtab ".symtab",
    Strtab ".strtab",
    Dynsym ".dynsym",
    Dynstr ".dynstr",
    GnuDebugdata ".gnu_debugdata",
    GnuDebuglink ".gnu_debuglink",
    GnuDebugaltlink ".gnu_debugaltlink",
    DebugAbbrev ".debug_abbrev",
    DebugAddr ".debug_addr",
    DebugAranges ".debug_aranges",
    DebugInfo ".debug_info",
    DebugLine ".debug_line",
    DebugLineStr ".debug_line_str",
    DebugRanges ".debug_ranges",
    DebugRnglists ".debug_rnglists",
    DebugStr ".debug_str",
    DebugStrOffsets ".debug_str_offsets",
}

impl SectionName {
    /// Longer than the longest, with its end.
    pub(crate) const MAX_LEN: usize = 24;

    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let found = Self::ALL.iter().find(|(n, _)| n.as_bytes() == name)?;
        Some(found.1)
    }

    pub(crate) fn stub(self) -> Option<Stub> {
        match self {
            Self::Plt => Some(Stub::Plt),
            Self::PltSec | Self::PltGot | Self::Iplt => Some(Stub::PltJump),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten sections of one file that claim to be a gigabyte each when unpacked, as one of
    /// a few hundred bytes may with zstd, are not all unpacked.
    #[test]
    fn packed_sections() {
        let header = [2_u64, 1 << 30, 1].map(u64::to_le_bytes).concat();
        // A frame without a checksum or a size, and the start of its first block.
        let start = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        let file = ObjectBytes::new([header.as_slice(), &start, &[0; 200]].concat());
        let section = Section::of(&file, true);
        let unpackers: Vec<_> = (0..10).filter_map(|_| section.unpacker()).collect();
        assert_eq!(unpackers.len(), 2);
        drop(unpackers);
        assert!(section.unpacker().is_some());
    }
}
