use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gimli::{
    DebugAbbrev, DebugAranges, DebugInfo, DebugInfoOffset, Dwarf, EndianSlice, LittleEndian,
    SectionId, UnitHeader, constants,
};

use super::unit_bytes::UnitBytes;
use crate::ImageAddress;

type Reader<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Context<'a> = addr2line::Context<Reader<'a>>;

/// The compilation units of an object, each decoded when an address of it is
/// asked for. A C library has thousands, of which a program uses some dozens.
pub(super) struct Units<'a> {
    bytes: &'a UnitBytes,
    sections: Box<dyn Fn(SectionId) -> Reader<'a> + Send + 'a>,
    read_supplement: Box<dyn Fn() -> Option<Dwarf<Reader<'a>>> + Send + 'a>,
    supplement: OnceCell<Option<Arc<Dwarf<Reader<'a>>>>>,
    /// Where the code of those units is that are listed.
    listed: Vec<Code>,
    /// Where that of all units is: what is not listed is only told by the units
    /// themselves.
    all: OnceCell<Vec<Code>>,
    decoders: RefCell<HashMap<usize, Decoder<'a>>>,
    /// All units at once, for those that refer to others.
    whole: OnceCell<Option<Context<'a>>>,
}

/// Code of a unit: start, end, where the unit is in `.debug_info`.
type Code = (u64, u64, usize);

/// What decodes a unit.
enum Decoder<'a> {
    Alone(Box<Context<'a>>),
    Whole,
    /// It is damaged.
    Nothing,
}

/// How many ranges before an address are looked at for one that holds it.
const MAX_BACK: usize = 16;

/// The longest table of abbreviations that is looked through. GCC numbers them
/// from 1 on, and uses some hundreds.
const MAX_ABBREVIATIONS: u64 = 1 << 16;

impl<'a> Units<'a> {
    /// Reads where the code of units is, of those that are listed. `sections` gives
    /// the other sections of the object, `supplement` those of what `dwz` found common
    /// to several.
    pub(super) fn new(
        bytes: &'a UnitBytes,
        sections: impl Fn(SectionId) -> Reader<'a> + Send + 'a,
        supplement: impl Fn() -> Option<Dwarf<Reader<'a>>> + Send + 'a,
    ) -> Self {
        let mut listed = Vec::new();
        let lists = DebugAranges::from(sections(SectionId::DebugAranges));
        let mut lists = lists.headers();
        while let Ok(Some(list)) = lists.next() {
            let mut entries = list.entries();
            while let Ok(Some(entry)) = entries.next() {
                let range = entry.range();
                listed.push((range.begin, range.end, list.debug_info_offset().0));
            }
        }
        bytes.list(listed.iter().map(|(.., offset)| *offset));
        Self {
            bytes,
            sections: Box::new(sections),
            read_supplement: Box::new(supplement),
            supplement: OnceCell::new(),
            listed: in_order(listed),
            all: OnceCell::new(),
            decoders: RefCell::default(),
            whole: OnceCell::new(),
        }
    }

    /// Looks at an address with what decodes its unit; `None` if it is in none.
    pub(super) fn at<T>(
        &self,
        address: ImageAddress,
        look: impl FnOnce(&Context<'a>) -> T,
    ) -> Option<T> {
        let addr = address.get();
        let offset = unit_of(&self.listed, addr).or_else(|| unit_of(self.all(), addr))?;
        let mut decoders = self.decoders.borrow_mut();
        let decoder = decoders.entry(offset);
        let decoder = decoder.or_insert_with(|| self.decoder(offset).unwrap_or(Decoder::Nothing));
        match decoder {
            Decoder::Alone(context) => Some(look(context)),
            Decoder::Whole => {
                let whole = || Context::from_dwarf(self.dwarf(None)).ok();
                self.whole.get_or_init(whole).as_ref().map(look)
            }
            Decoder::Nothing => None,
        }
    }

    /// Has what is needed for an address that is going to be asked for: while others
    /// unpack the other sections, as only this may take longer than all of those.
    pub(super) fn prepare(&self, address: ImageAddress) {
        let offset = unit_of(&self.listed, address.get());
        let unit = offset.and_then(|offset| self.bytes.unit(offset));
        if unit.is_none_or(|unit| self.refers_to_others(unit)) {
            self.bytes.whole();
        }
    }

    /// Where the code of all units is.
    fn all(&self) -> &[Code] {
        self.all.get_or_init(|| {
            let dwarf = self.dwarf(None);
            let listed: HashSet<usize> = self.listed.iter().map(|(.., offset)| *offset).collect();
            let mut all = self.listed.clone();
            let mut headers = dwarf.units();
            while let Ok(Some(header)) = headers.next() {
                let offset = header.debug_info_offset().map_or(usize::MAX, |o| o.0);
                if !listed.contains(&offset) {
                    let ranges = unit_ranges(&dwarf, header).unwrap_or_default();
                    all.extend(ranges.into_iter().map(|(start, end)| (start, end, offset)));
                }
            }
            in_order(all)
        })
    }

    fn decoder(&self, offset: usize) -> Option<Decoder<'a>> {
        let unit = self.bytes.unit(offset)?;
        if self.refers_to_others(unit) {
            return Some(Decoder::Whole);
        }
        let dwarf = self.dwarf(Some(unit));
        Some(Decoder::Alone(Box::new(Context::from_dwarf(dwarf).ok()?)))
    }

    /// Whether anything in a unit may refer to another one by its offset, as it
    /// does after optimization at link time, and after `dwz`.
    fn refers_to_others(&self, unit: &'a [u8]) -> bool {
        let unit = DebugInfo::new(unit, LittleEndian);
        let Ok(header) = unit.header_from_offset(DebugInfoOffset(0)) else {
            return false;
        };
        let abbreviations = DebugAbbrev::from((self.sections)(SectionId::DebugAbbrev));
        let Ok(abbreviations) = header.abbreviations(&abbreviations) else {
            return false;
        };
        let all = (1..MAX_ABBREVIATIONS).map_while(|code| abbreviations.get(code));
        let mut attributes = all.flat_map(|abbreviation| abbreviation.attributes());
        attributes.any(|attribute| attribute.form() == constants::DW_FORM_ref_addr)
    }

    /// All sections, or with one unit alone.
    fn dwarf(&self, unit: Option<&'a [u8]>) -> Dwarf<Reader<'a>> {
        let units = unit.or_else(|| self.bytes.whole()).unwrap_or_default();
        let load = |id| {
            Ok::<_, std::convert::Infallible>(match id {
                SectionId::DebugInfo => EndianSlice::new(units, LittleEndian),
                // They name units by their offset among all.
                SectionId::DebugAranges if unit.is_some() => Reader::default(),
                _ => (self.sections)(id),
            })
        };
        let mut dwarf = match Dwarf::load(load) {
            Ok(dwarf) => dwarf,
            Err(never) => match never {},
        };
        let supplement = || (self.read_supplement)().map(Arc::new);
        dwarf
            .sup
            .clone_from(self.supplement.get_or_init(supplement));
        dwarf
    }
}

/// Without what is empty.
fn in_order(mut code: Vec<Code>) -> Vec<Code> {
    code.retain(|(start, end, _)| start < end);
    code.sort_unstable();
    code
}

/// The unit with the code at an address.
fn unit_of(code: &[Code], addr: u64) -> Option<usize> {
    let after = code.partition_point(|(start, ..)| *start <= addr);
    let mut before = code.get(..after)?.iter().rev().take(MAX_BACK);
    let (.., offset) = before.find(|(_, end, _)| addr < *end)?;
    Some(*offset)
}

/// The addresses of a unit, as it says itself.
fn unit_ranges<'a>(
    dwarf: &Dwarf<Reader<'a>>,
    header: UnitHeader<Reader<'a>>,
) -> gimli::Result<Vec<(u64, u64)>> {
    let unit = dwarf.unit(header)?;
    let mut ranges = dwarf.unit_ranges(&unit)?;
    let mut found = Vec::new();
    while let Some(range) = ranges.next()? {
        found.push((range.begin, range.end));
    }
    Ok(found)
}
