use firefinch_memory::Bytes;

use crate::ImageAddress;

/// Version 1; the address of `.eh_frame` relative to its own place, the count
/// as a u32, the table relative to the section, each of its values an i32. All
/// linkers write this and nothing else; a file without it is indexed instead.
const ENCODINGS: [u8; 4] = [0x01, 0x1b, 0x03, 0x3b];

/// The encodings, the address of `.eh_frame`, the count.
const HEADER: usize = 12;
/// The start of a function, and the address of its description.
const ENTRY: usize = 8;

/// Searches an `.eh_frame_hdr` (Linux Standard Base, Core 5.0, 10.6.2) that
/// lies at `base` for the description of the function that starts last at or
/// before the address.
pub(super) fn find(hdr: &[u8], base: ImageAddress, address: ImageAddress) -> Option<ImageAddress> {
    if hdr.get(..4)? != ENCODINGS {
        return None;
    }
    let stated = usize::try_from(Bytes(hdr).u32(8)?).ok()?;
    let table = hdr.get(HEADER..)?;
    let count = stated.min(table.len() / ENTRY);
    let value = |offset| {
        let relative = Bytes(table).i32(offset)?;
        Some(base.get().wrapping_add_signed(i64::from(relative)))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if value(middle * ENTRY)? <= address.get() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let found = value(low.checked_sub(1)? * ENTRY + 4)?;
    Some(ImageAddress::new(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(count: u32, entries: &[(i32, i32)]) -> Vec<u8> {
        let mut hdr = ENCODINGS.to_vec();
        hdr.extend([0; 4]);
        hdr.extend(count.to_le_bytes());
        for (start, description) in entries {
            hdr.extend(start.to_le_bytes());
            hdr.extend(description.to_le_bytes());
        }
        hdr
    }

    /// The last entry at or before the address is found; a count beyond the section, another encoding and a section cut short do no harm.
    #[test]
    fn last_before() {
        let find = |hdr: &[u8], address| {
            let found = find(hdr, ImageAddress::new(0x1000), ImageAddress::new(address));
            found.map(ImageAddress::get)
        };
        let entries = [(-0x800, 0x10), (-0x700, 0x20), (0x500, 0x30)];
        for count in [3, 4, u32::MAX] {
            let hdr = table(count, &entries);
            assert_eq!(find(&hdr, 0x7ff), None);
            assert_eq!(find(&hdr, 0x800), Some(0x1010));
            assert_eq!(find(&hdr, 0x14ff), Some(0x1020));
            assert_eq!(find(&hdr, u64::MAX), Some(0x1030));
        }
        let mut hdr = table(3, &entries);
        for len in 0..hdr.len() {
            find(&hdr[..len], 0x14ff);
        }
        hdr[3] = 0x1b;
        assert_eq!(find(&hdr, 0x14ff), None);
    }
}
