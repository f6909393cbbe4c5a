use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use self_cell::self_cell;

use super::demangle::demangle;
use super::unit_bytes::UnitBytes;
use super::units::{Context, Units};
use crate::ImageAddress;
use crate::image::{Image, SectionName};

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Functions inlined into each other at one address; compilers stop far earlier.
const MAX_INLINED: usize = 256;

/// `PATH_MAX`.
const MAX_PATH: usize = 4096;

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
    units: UnitBytes,
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
    /// Reads the unit with the code of `first`, which is going to be asked for, and
    /// what there has to be for that.
    pub(crate) fn open(
        main: &Arc<Image>,
        supplement: Option<&Arc<Image>>,
        first: ImageAddress,
    ) -> Self {
        // Unpacking takes longer than all the rest, so each section has a thread for
        // it, and of the largest no more is unpacked than is needed.
        let by_units = [SectionName::DebugInfo, SectionName::DebugAranges];
        let names = SECTIONS.map(|(_, name)| name);
        let of_main = names.iter().filter(|name| !by_units.contains(name));
        let of_main = of_main.filter_map(|name| main.section(*name));
        let of_other = supplement.into_iter();
        let of_other = of_other.flat_map(|other| names.map(|name| other.section(name)));
        let packed = of_main.chain(of_other.flatten());
        let packed = packed.filter(|section| section.compressed);
        let cell = thread::scope(|scope| {
            for section in packed {
                let unpack = move || section.data().is_some();
                // Where no more threads are allowed it is unpacked when it is needed.
                let _ = thread::Builder::new().spawn_scoped(scope, unpack);
            }
            let sections = Sections {
                units: UnitBytes::new(main.section(SectionName::DebugInfo)),
                main: File(Arc::clone(main)),
                supplement: supplement.map(|image| File(Arc::clone(image))),
            };
            let cell = Cell::new(sections, |sections| {
                let supplement = || sections.supplement.as_ref().map(File::dwarf);
                let main = |id| sections.main.reader(id);
                Units::new(&sections.units, main, supplement)
            });
            cell.with_dependent(|_, units| units.prepare(first));
            cell
        });
        Self(Mutex::new(cell))
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
            file: location.and_then(|l| l.file).map(shortened),
            line: location.and_then(|l| l.line).filter(|line| *line != 0),
        });
        if found.len() == MAX_INLINED {
            break;
        }
    }
    Ok(found)
}

/// A path of at most so many characters as a path may have bytes.
fn shortened(path: &str) -> String {
    path.chars().take(MAX_PATH).collect()
}

impl File {
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
