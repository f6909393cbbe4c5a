use std::collections::HashMap;

use gimli::{
    BaseAddresses, CieOrFde, CommonInformationEntry, EndianSlice, LittleEndian, UnwindOffset,
    UnwindSection,
};

use crate::ImageAddress;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Where in a section the description of each function is, for a section
/// without a search table of its own.
#[derive(Debug, Default)]
pub(super) struct FrameIndex {
    /// By start; offset in the section.
    entries: Vec<(ImageAddress, usize)>,
}

impl FrameIndex {
    /// Reads a whole section, up to where it is damaged. Takes time and memory
    /// in proportion to its length: 16 bytes for each entry, which has at
    /// least as many.
    pub(super) fn build<'a, S>(section: &S, bases: &BaseAddresses, len: usize) -> Self
    where
        S: UnwindSection<Reader<'a>>,
        S::Offset: UnwindOffset<usize>,
    {
        let mut entries = Vec::new();
        let mut cies: HashMap<usize, Option<CommonInformationEntry<Reader<'a>>>> = HashMap::new();
        // Entries may name any place as their common entry, so common entries
        // may overlap: all together are read at most a few times over.
        let mut budget = len.saturating_mul(4);
        let mut iter = section.entries(bases);
        while let Ok(Some(entry)) = iter.next() {
            let CieOrFde::Fde(partial) = entry else {
                continue;
            };
            let offset = partial.offset();
            let fde = partial.parse(|section, bases, at| {
                let cie = cies.entry(UnwindOffset::into(at)).or_insert_with(|| {
                    let cie = section.cie_from_offset(bases, at).ok()?;
                    budget = budget.checked_sub(cie.entry_len())?;
                    Some(cie)
                });
                cie.clone().ok_or(gimli::Error::NoUnwindInfoForAddress)
            });
            // An address of zero is a function that the linker threw away.
            if let Ok(fde) = fde
                && fde.initial_address() != 0
                && fde.len() != 0
            {
                entries.push((ImageAddress::new(fde.initial_address()), offset));
            }
        }
        entries.sort_unstable();
        Self { entries }
    }

    /// The offset of the entry that starts last at or before the address.
    pub(super) fn find(&self, address: ImageAddress) -> Option<usize> {
        let after = self.entries.partition_point(|(start, _)| *start <= address);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        Some(entry.1)
    }
}
