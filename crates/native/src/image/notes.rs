use firefinch_memory::Bytes;

use super::BuildId;

/// Notes looked at in one segment; real ones hold two or three.
const MAX_NOTES: usize = 256;

/// Finds the build id (`NT_GNU_BUILD_ID`, owner "GNU") in a segment or section
/// of notes: name size, descriptor size, type, then name and descriptor, each
/// padded to `align`.
pub(super) fn build_id(notes: &[u8], align: u64) -> Option<BuildId> {
    let align = if align == 8 { 8 } else { 4 };
    let pad = |n: usize| n.checked_next_multiple_of(align);
    let mut at = 0_usize;
    for _ in 0..MAX_NOTES {
        let header = Bytes(notes.get(at..)?);
        let name_len = usize::try_from(header.u32(0)?).ok()?;
        let desc_len = usize::try_from(header.u32(4)?).ok()?;
        let kind = header.u32(8)?;
        let desc_at = pad(name_len.checked_add(12)?)?;
        let name = header.slice(12, name_len)?;
        let desc = header.slice(desc_at, desc_len)?;
        if kind == object::elf::NT_GNU_BUILD_ID && name == b"GNU\0" {
            return BuildId::new(desc);
        }
        at = at.checked_add(pad(desc_at.checked_add(desc_len)?)?)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let len = |b: &[u8]| u32::try_from(b.len()).unwrap().to_le_bytes();
        let mut out = [len(name), len(desc), kind.to_le_bytes()].concat();
        for part in [name, desc] {
            out.extend(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    /// The build id is found behind other notes, and damage anywhere yields none or a short one, never a panic.
    #[test]
    fn found_or_not() {
        let notes = [note(b"GNU\0", 5, &[1; 13]), note(b"GNU\0", 3, &[7; 20])].concat();
        assert_eq!(build_id(&notes, 4).unwrap().as_bytes(), [7; 20]);
        assert_eq!(build_id(&note(b"XYZ\0", 3, &[7; 20]), 4), None);
        assert_eq!(build_id(&note(b"GNU\0", 3, &[7; 300]), 4), None);
        for at in 0..notes.len() {
            assert_eq!(build_id(&notes[..at], 4), None);
            let mut damaged = notes.clone();
            damaged[at] = 0xff;
            build_id(&damaged, 8);
        }
    }
}
