use std::sync::OnceLock;

use gimli::{
    BaseAddresses, CommonInformationEntry, DebugFrame, DebugFrameOffset, EhFrame, EhFrameHdr,
    EhFrameOffset, EndianSlice, FrameDescriptionEntry, LittleEndian, UnwindContext,
    UnwindContextStorage, UnwindOffset, UnwindSection, UnwindTableRow,
};

use super::compile::{BadRow, compile};
use super::frame_index::FrameIndex;
use super::rule::Rule;
use super::search_table;
use crate::ImageAddress;
use crate::arch::Architecture;
use crate::image::{Image, Section, SectionName};

type Reader<'a> = EndianSlice<'a, LittleEndian>;
type Fde<'a> = FrameDescriptionEntry<Reader<'a>>;

/// The longest program for a row that is run. The longest seen, of the
/// interpreter loop in CPython 3.13, has some 20 KB.
const MAX_PROGRAM: usize = 1 << 20;

/// Room for rows: DWARF numbers at most 96 registers that tables here speak of,
/// and compilers never have more than two rows saved.
#[derive(Debug)]
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(gimli::Register, gimli::RegisterRule<usize>); 96];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

/// Memory for running a table's program, reused.
pub(super) type Context = UnwindContext<usize, Storage>;

/// The call frame information of one object: `.eh_frame`, and `.debug_frame`
/// for what that does not describe.
#[derive(Debug)]
pub(crate) struct Cfi {
    bases: BaseAddresses,
    eh_frame_hdr: Option<Section>,
    eh_frame: Option<Section>,
    debug_frame: Option<Section>,
    eh_index: OnceLock<FrameIndex>,
    debug_index: OnceLock<FrameIndex>,
}

/// No row for an address, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRow {
    /// Nothing describes it.
    Absent,
    /// What describes it is damaged.
    Bad,
}

/// A function's description, and which section's it is.
struct Found<'a, S> {
    section: S,
    fde: Fde<'a>,
}

impl From<gimli::Error> for NoRow {
    fn from(_: gimli::Error) -> Self {
        Self::Bad
    }
}

impl From<BadRow> for NoRow {
    fn from(_: BadRow) -> Self {
        Self::Bad
    }
}

impl Cfi {
    /// Finds the sections; reads nothing of them but where `.eh_frame` is.
    pub(crate) fn of(image: &Image) -> Self {
        let hdr = image.eh_frame_hdr().cloned();
        let named = |name| image.section(name).cloned();
        let mut bases = BaseAddresses::default();
        if let Some(hdr) = &hdr {
            bases = bases.set_eh_frame_hdr(hdr.address.get());
        }
        if let Some(text) = image.section(SectionName::Text) {
            bases = bases.set_text(text.address.get());
        }
        if let Some(got) = image.section(SectionName::Got) {
            bases = bases.set_got(got.address.get());
        }
        let eh_frame = named(SectionName::EhFrame).filter(|s| !s.is_empty());
        let eh_frame = eh_frame.or_else(|| eh_frame_by_hdr(image, hdr.as_ref()?, &bases));
        if let Some(section) = &eh_frame {
            bases = bases.set_eh_frame(section.address.get());
        }
        Self {
            bases,
            eh_frame_hdr: hdr,
            eh_frame,
            debug_frame: named(SectionName::DebugFrame),
            eh_index: OnceLock::new(),
            debug_index: OnceLock::new(),
        }
    }

    /// The rule at an address.
    pub(super) fn rule(
        &self,
        arch: &Architecture,
        address: ImageAddress,
        context: &mut Context,
    ) -> Result<Rule, NoRow> {
        // What is described twice may be described well once.
        let first = self.find_eh(arch, address);
        let first = first.and_then(|found| self.row(&found, arch, address, context));
        first.or_else(|first| {
            let second = self.rule_for_debuggers(arch, address, context);
            second.map_err(|_| first)
        })
    }

    /// The same by `.debug_frame` alone: a file of debug information has the headers
    /// of what it leaves out.
    pub(super) fn rule_for_debuggers(
        &self,
        arch: &Architecture,
        address: ImageAddress,
        context: &mut Context,
    ) -> Result<Rule, NoRow> {
        let found = self.find_debug(arch, address)?;
        self.row(&found, arch, address, context)
    }

    /// Where the function at an address starts, or the part of it that is
    /// described at once.
    pub(crate) fn function_start(
        &self,
        arch: &Architecture,
        address: ImageAddress,
    ) -> Option<ImageAddress> {
        let eh = self.find_eh(arch, address).map(|found| found.fde);
        let fde = eh.or_else(|_| self.find_debug(arch, address).map(|found| found.fde));
        fde.ok().map(|fde| ImageAddress::new(fde.initial_address()))
    }

    fn find_eh<'a>(
        &'a self,
        arch: &Architecture,
        address: ImageAddress,
    ) -> Result<Found<'a, EhFrame<Reader<'a>>>, NoRow> {
        let section = self.eh_frame.as_ref().ok_or(NoRow::Absent)?;
        let bytes = section.data().ok_or(NoRow::Bad)?;
        let mut eh_frame = EhFrame::new(bytes, LittleEndian);
        eh_frame.set_address_size(8);
        eh_frame.set_vendor(arch.vendor);
        let offset = match self.search_table(section, address) {
            Some(offset) => offset,
            None => {
                let build = || FrameIndex::build(&eh_frame, &self.bases, bytes.len());
                let index = self.eh_index.get_or_init(build);
                index.find(address).ok_or(NoRow::Absent)?
            }
        };
        self.found(eh_frame, EhFrameOffset(offset), address)
    }

    fn find_debug<'a>(
        &'a self,
        arch: &Architecture,
        address: ImageAddress,
    ) -> Result<Found<'a, DebugFrame<Reader<'a>>>, NoRow> {
        let section = self.debug_frame.as_ref().ok_or(NoRow::Absent)?;
        let bytes = section.data().ok_or(NoRow::Bad)?;
        let mut debug_frame = DebugFrame::new(bytes, LittleEndian);
        debug_frame.set_address_size(8);
        debug_frame.set_vendor(arch.vendor);
        let build = || FrameIndex::build(&debug_frame, &self.bases, bytes.len());
        let index = self.debug_index.get_or_init(build);
        let offset = index.find(address).ok_or(NoRow::Absent)?;
        self.found(debug_frame, DebugFrameOffset(offset), address)
    }

    fn found<'a, S>(
        &self,
        section: S,
        offset: S::Offset,
        address: ImageAddress,
    ) -> Result<Found<'a, S>, NoRow>
    where
        S: UnwindSection<Reader<'a>>,
    {
        let cie = |section: &S, bases: &BaseAddresses, at| -> gimli::Result<_> {
            let cie: CommonInformationEntry<_> = section.cie_from_offset(bases, at)?;
            Ok(cie)
        };
        let fde = section.fde_from_offset(&self.bases, offset, cie)?;
        if !fde.contains(address.get()) {
            return Err(NoRow::Absent);
        }
        if fde.entry_len() > MAX_PROGRAM || fde.cie().entry_len() > MAX_PROGRAM {
            return Err(NoRow::Bad);
        }
        Ok(Found { section, fde })
    }

    fn row<'a, S>(
        &self,
        found: &Found<'a, S>,
        arch: &Architecture,
        address: ImageAddress,
        context: &mut Context,
    ) -> Result<Rule, NoRow>
    where
        S: UnwindSection<Reader<'a>>,
        S::Offset: UnwindOffset<usize>,
    {
        let Found { section, fde } = found;
        let row = fde.unwind_info_for_address(section, &self.bases, context, address.get())?;
        Ok(compile(row, fde.cie(), section, arch)?)
    }

    /// The offset in `.eh_frame` by the binary search table; `None` without a
    /// usable one.
    fn search_table(&self, eh_frame: &Section, address: ImageAddress) -> Option<usize> {
        let hdr = self.eh_frame_hdr.as_ref()?;
        let entry = search_table::find(hdr.data()?, hdr.address, address)?;
        let offset = entry.get().checked_sub(eh_frame.address.get())?;
        usize::try_from(offset).ok()
    }
}

/// `.eh_frame` without section headers: from where its header says, to the end
/// of the segment at most. A zero length ends it before that.
fn eh_frame_by_hdr(image: &Image, hdr: &Section, bases: &BaseAddresses) -> Option<Section> {
    let hdr = EhFrameHdr::new(hdr.data()?, LittleEndian);
    let hdr = hdr.parse(bases, 8).ok()?;
    image.to_end_of_segment(ImageAddress::new(hdr.eh_frame_ptr().direct().ok()?))
}
