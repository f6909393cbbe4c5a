use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use self_cell::self_cell;

use super::debug_files::DebugFiles;
use super::demangle::demangle;
use crate::ImageAddress;
use crate::image::{Image, SectionName};

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Context<'a> = addr2line::Context<Reader<'a>>;

/// Functions inlined into each other at one address; compilers stop far earlier.
const MAX_INLINED: usize = 256;

/// Debug information of an object, decoded unit by unit as it is asked for.
pub(super) struct DebugInfo(Cell);

/// One function at an address.
#[derive(Debug)]
pub(super) struct SourceFrame {
    /// `None` if the debug information has only a line.
    pub(super) function: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

// The decoder borrows from the sections' bytes.
self_cell! {
    struct Cell {
        owner: Sections,
        #[not_covariant]
        dependent: Context,
    }
}

/// The bytes of the sections of the files.
struct Sections {
    main: File,
    supplement: Option<File>,
}

struct File {
    image: Arc<Image>,
    unpacked: HashMap<SectionName, Vec<u8>>,
}

const SECTIONS: [(SectionId, SectionName); 10] = [
    (SectionId::DebugAbbrev, SectionName::DebugAbbrev),
    (SectionId::DebugAddr, SectionName::DebugAddr),
    (SectionId::DebugAranges, SectionName::DebugAranges),
    (SectionId::DebugInfo, SectionName::DebugInfo),
    (SectionId::DebugLine, SectionName::DebugLine),
    (SectionId::DebugLineStr, SectionName::DebugLineStr),
    (SectionId::DebugRanges, SectionName::DebugRanges),
    (SectionId::DebugRngLists, SectionName::DebugRnglists),
    (SectionId::DebugStr, SectionName::DebugStr),
    (SectionId::DebugStrOffsets, SectionName::DebugStrOffsets),
];

impl DebugInfo {
    /// Reads what units there are, and nothing in them; `None` if that is damaged.
    pub(super) fn open(files: &DebugFiles) -> Option<Self> {
        let sections = Sections {
            main: File::open(&files.main),
            supplement: files.supplement.as_ref().map(File::open),
        };
        let cell = Cell::try_new(sections, |sections| {
            let mut dwarf = sections.main.dwarf();
            if let Some(supplement) = &sections.supplement {
                dwarf.set_sup(supplement.dwarf());
            }
            Context::from_dwarf(dwarf)
        });
        Some(Self(cell.ok()?))
    }

    /// The functions at an address, the innermost inlined one first; empty
    /// where nothing is known.
    pub(super) fn find(&self, address: ImageAddress) -> Vec<SourceFrame> {
        let found = self.0.with_dependent(|_, context| {
            // Split DWARF is in files that only the build has.
            let mut frames = context.find_frames(address.get()).skip_all_loads()?;
            let mut found = Vec::new();
            while let Some(frame) = frames.next()? {
                let function = frame.function.as_ref().and_then(|f| f.raw_name().ok());
                let location = frame.location.as_ref();
                found.push(SourceFrame {
                    function: function.map(|name| demangle(&name).into_owned()),
                    file: location.and_then(|l| l.file).map(str::to_owned),
                    line: location.and_then(|l| l.line).filter(|line| *line != 0),
                });
                if found.len() == MAX_INLINED {
                    break;
                }
            }
            Ok::<_, gimli::Error>(found)
        });
        found.unwrap_or_default()
    }
}

impl File {
    fn open(image: &Arc<Image>) -> Self {
        let packed = SECTIONS.iter().filter_map(|(_, name)| {
            // What is not compressed is used where it lies.
            let section = image.section(*name).filter(|s| s.compressed)?;
            let unpacked = section.unpacked(|bytes| bytes.into_owned())?;
            Some((*name, unpacked))
        });
        Self {
            unpacked: packed.collect(),
            image: Arc::clone(image),
        }
    }

    fn dwarf(&self) -> Dwarf<Reader<'_>> {
        let load = |id| {
            let bytes = self.section(id).unwrap_or_default();
            Ok::<_, std::convert::Infallible>(EndianSlice::new(bytes, LittleEndian))
        };
        match Dwarf::load(load) {
            Ok(dwarf) => dwarf,
            Err(never) => match never {},
        }
    }

    fn section(&self, id: SectionId) -> Option<&[u8]> {
        let (_, name) = SECTIONS.iter().find(|(known, _)| *known == id)?;
        if let Some(bytes) = self.unpacked.get(name) {
            return Some(bytes);
        }
        let section = self.image.section(*name).filter(|s| !s.compressed)?;
        section.data()
    }
}

impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").finish_non_exhaustive()
    }
}
