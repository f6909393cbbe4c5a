use std::ops::Range;

use crate::ImageAddress;

/// Where a section lies.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) address: ImageAddress,
    /// Its size in memory.
    pub(crate) size: u64,
    /// Its bytes in the file, inside it; empty if it has none there.
    pub(crate) file: Range<usize>,
    /// Whether those start with a compression header.
    pub(crate) compressed: bool,
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
