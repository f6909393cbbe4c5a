use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use gimli::{DebugInfoOffset, Dwarf, EndianSlice, LittleEndian, SectionId, UnitHeader, constants};

use crate::ImageAddress;

type Reader<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Context<'a> = addr2line::Context<Reader<'a>>;

/// The compilation units of an object, each decoded when an address of it is
/// asked for. A C library has thousands, of which a program uses some dozens.
pub(super) struct Units<'a> {
    sections: Box<dyn Fn(SectionId) -> Reader<'a> + Send + 'a>,
    supplement: Option<Arc<Dwarf<Reader<'a>>>>,
    /// By start: start, end, where the unit is in `.debug_info`.
    ranges: Vec<(u64, u64, usize)>,
    decoders: RefCell<HashMap<usize, Decoder<'a>>>,
    /// All units at once, for those that refer to others.
    whole: OnceCell<Option<Context<'a>>>,
}

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
    /// Reads where the code of each unit is. `sections` gives the sections of
    /// the object, `supplement` those of what `dwz` found common to several.
    pub(super) fn read(
        sections: impl Fn(SectionId) -> Reader<'a> + Send + 'a,
        supplement: Option<Dwarf<Reader<'a>>>,
    ) -> gimli::Result<Self> {
        let mut units = Self {
            sections: Box::new(sections),
            supplement: supplement.map(Arc::new),
            ranges: Vec::new(),
            decoders: RefCell::default(),
            whole: OnceCell::new(),
        };
        let dwarf = units.dwarf(None);
        let mut ranges: HashMap<usize, Vec<(u64, u64)>> = HashMap::new();
        let mut lists = dwarf.debug_aranges.headers();
        while let Ok(Some(list)) = lists.next() {
            let of_unit = ranges.entry(list.debug_info_offset().0).or_default();
            let mut entries = list.entries();
            while let Ok(Some(entry)) = entries.next() {
                of_unit.push((entry.range().begin, entry.range().end));
            }
        }
        let mut headers = dwarf.units();
        while let Some(header) = headers.next()? {
            let offset = header.debug_info_offset().map_or(usize::MAX, |o| o.0);
            let listed = ranges.remove(&offset);
            let of_unit = listed.filter(|listed| !listed.is_empty());
            let of_unit = of_unit.or_else(|| unit_ranges(&dwarf, header).ok());
            let of_unit = of_unit
                .into_iter()
                .flatten()
                .filter(|(start, end)| start < end);
            units
                .ranges
                .extend(of_unit.map(|(start, end)| (start, end, offset)));
        }
        units.ranges.sort_unstable();
        Ok(units)
    }

    /// Looks at an address with what decodes its unit; `None` if it is in none.
    pub(super) fn at<T>(
        &self,
        address: ImageAddress,
        look: impl FnOnce(&Context<'a>) -> T,
    ) -> Option<T> {
        let addr = address.get();
        let after = self.ranges.partition_point(|(start, ..)| *start <= addr);
        let before = self.ranges.get(..after)?.iter().rev().take(MAX_BACK);
        let (.., offset) = before.into_iter().find(|(_, end, _)| addr < *end)?;
        let mut decoders = self.decoders.borrow_mut();
        let decoder = decoders.entry(*offset);
        let decoder = decoder.or_insert_with(|| self.decoder(*offset).unwrap_or(Decoder::Nothing));
        match decoder {
            Decoder::Alone(context) => Some(look(context)),
            Decoder::Whole => {
                let whole = || Context::from_dwarf(self.dwarf(None)).ok();
                self.whole.get_or_init(whole).as_ref().map(look)
            }
            Decoder::Nothing => None,
        }
    }

    fn decoder(&self, offset: usize) -> Option<Decoder<'a>> {
        let dwarf = self.dwarf(None);
        let header = dwarf.debug_info.header_from_offset(DebugInfoOffset(offset));
        let header = header.ok()?;
        if refers_to_others(&header, &dwarf) {
            return Some(Decoder::Whole);
        }
        let all = (self.sections)(SectionId::DebugInfo);
        let end = offset.checked_add(header.length_including_self())?;
        let alone = all.slice().get(offset..end)?;
        let dwarf = self.dwarf(Some(EndianSlice::new(alone, LittleEndian)));
        Some(Decoder::Alone(Box::new(Context::from_dwarf(dwarf).ok()?)))
    }

    /// All sections, or with one unit alone.
    fn dwarf(&self, unit: Option<Reader<'a>>) -> Dwarf<Reader<'a>> {
        let load = |id| {
            Ok::<_, std::convert::Infallible>(match (id, unit) {
                (SectionId::DebugInfo, Some(unit)) => unit,
                // They name units by their offset.
                (SectionId::DebugAranges, Some(_)) => Reader::default(),
                _ => (self.sections)(id),
            })
        };
        let mut dwarf = match Dwarf::load(load) {
            Ok(dwarf) => dwarf,
            Err(never) => match never {},
        };
        dwarf.sup.clone_from(&self.supplement);
        dwarf
    }
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

/// Whether anything in a unit may refer to another one by its offset, as it
/// does after optimization at link time, and after `dwz`.
fn refers_to_others<'a>(header: &UnitHeader<Reader<'a>>, dwarf: &Dwarf<Reader<'a>>) -> bool {
    let Ok(abbreviations) = header.abbreviations(&dwarf.debug_abbrev) else {
        return false;
    };
    let all = (1..MAX_ABBREVIATIONS).map_while(|code| abbreviations.get(code));
    let mut attributes = all.flat_map(|abbreviation| abbreviation.attributes());
    attributes.any(|attribute| attribute.form() == constants::DW_FORM_ref_addr)
}
