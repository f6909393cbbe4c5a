use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use self_cell::self_cell;

use super::demangle::demangle;
use super::units::{Context, Units};
use crate::ImageAddress;
use crate::image::{Image, SectionName};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Functions inlined into each other at one address; compilers stop far earlier.
const MAX_INLINED: usize = 256;

/// Debug information of an object, decoded unit by unit as it is asked for.
pub(crate) struct DebugInfo(Mutex<Cell>);

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
        dependent: Units,
    }
}

/// The bytes of the sections of the files.
struct Sections {
    main: File,
    supplement: Option<File>,
}

struct File(Arc<Image>);

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
    pub(crate) fn open(main: &Arc<Image>, supplement: Option<&Arc<Image>>) -> Option<Self> {
        let sections = Sections {
            main: File::open(main),
            supplement: supplement.map(File::open),
        };
        let cell = Cell::try_new(sections, |sections| {
            let supplement = sections.supplement.as_ref().map(File::dwarf);
            Units::read(|id| sections.main.reader(id), supplement)
        });
        Some(Self(Mutex::new(cell.ok()?)))
    }

    /// The functions at an address, the innermost inlined one first; empty
    /// where nothing is known.
    pub(super) fn find(&self, address: ImageAddress) -> Vec<SourceFrame> {
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = cell.with_dependent(|_, units| {
            let found = units.at(address, |context| frames(context, address));
            found.and_then(Result::ok)
        });
        found.unwrap_or_default()
    }
}

fn frames(context: &Context<'_>, address: ImageAddress) -> gimli::Result<Vec<SourceFrame>> {
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
    Ok(found)
}

impl File {
    fn open(image: &Arc<Image>) -> Self {
        // Unpacking takes longer than all the rest, so each section has a
        // thread for it.
        let sections = SECTIONS.iter();
        let packed = sections.filter_map(|(_, name)| image.section(*name).filter(|s| s.compressed));
        std::thread::scope(|scope| {
            for section in packed {
                scope.spawn(|| section.data().is_some());
            }
        });
        Self(Arc::clone(image))
    }

    fn dwarf(&self) -> Dwarf<Reader<'_>> {
        let load = |id| Ok::<_, std::convert::Infallible>(self.reader(id));
        match Dwarf::load(load) {
            Ok(dwarf) => dwarf,
            Err(never) => match never {},
        }
    }

    fn reader(&self, id: SectionId) -> Reader<'_> {
        EndianSlice::new(self.section(id).unwrap_or_default(), LittleEndian)
    }

    fn section(&self, id: SectionId) -> Option<&[u8]> {
        let (_, name) = SECTIONS.iter().find(|(known, _)| *known == id)?;
        self.0.section(*name)?.data()
    }
}

impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").finish_non_exhaustive()
    }
}
