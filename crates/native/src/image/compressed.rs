use std::io::{BufRead, Read};

use firefinch_memory::Bytes;
use object::elf;

use super::budget::{Budget, Held};
use super::bytes::Part;

/// The best that deflate can do is 1,032 to 1.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// The most that compressed symbols are unpacked to, and the most memory that
/// takes. Those of distributions are some 100 KB.
const MAX_XZ: u64 = 64 << 20;
const MAX_XZ_MEMORY_KB: u32 = 64 << 10;

/// A section that is being unpacked.
pub(crate) struct Unpacker<'a> {
    /// How many bytes there will be, if that is true.
    pub(crate) size: usize,
    pub(crate) bytes: Box<dyn Read + Send + 'a>,
    /// The memory for them.
    pub(crate) held: Held,
}

/// Unpacks a section of `len` bytes that starts with an `Elf64_Chdr`: type, a reserved
/// word, the size when unpacked, the alignment (24 bytes).
pub(super) fn unpacker<'a>(
    mut section: impl BufRead + Send + 'a,
    len: u64,
    budget: &Budget,
) -> Option<Unpacker<'a>> {
    let mut header = [0; 24];
    section.read_exact(&mut header).ok()?;
    let header = Bytes(&header);
    let size = header.u64(8)?;
    let held = budget.take(size)?;
    let bytes: Box<dyn Read + Send + 'a> = match header.u32(0)? {
        elf::ELFCOMPRESS_ZLIB => {
            if size > len.checked_mul(MAX_DEFLATE_RATIO)? {
                return None;
            }
            // The method is deflate, no dictionary is needed (RFC 1950, 2.2).
            let mut start = [0; 2];
            section.read_exact(&mut start).ok()?;
            let [method, flags] = start;
            if method & 0xf != 8 || flags & 0x20 != 0 {
                return None;
            }
            // Without its checksum, which takes a seventh of the time: whoever damages
            // a file can mend that as well, and debug information is never believed
            // to be sound.
            Box::new(flate2::bufread::DeflateDecoder::new(section))
        }
        elf::ELFCOMPRESS_ZSTD => Box::new(ruzstd::decoding::StreamingDecoder::new(section).ok()?),
        _ => return None,
    };
    let size = usize::try_from(size).ok()?;
    Some(Unpacker { size, bytes, held })
}

impl Unpacker<'_> {
    /// Unpacks all of a section to exactly the size that it states.
    pub(super) fn all(mut self) -> Option<Part> {
        // Memory that is not written to is none: a size that is not true costs addresses
        // only.
        let mut out = vec![0; self.size];
        self.bytes.read_exact(&mut out).ok()?;
        Some(Part::copied(out, self.held))
    }
}

/// Unpacks an xz stream of unknown size.
pub(crate) fn unpack_xz(packed: &[u8]) -> Option<Vec<u8>> {
    let reader = lzma_rust2::XzReader::new_mem_limit(packed, false, MAX_XZ_MEMORY_KB);
    let mut out = Vec::new();
    reader.take(MAX_XZ).read_to_end(&mut out).ok()?;
    ((out.len() as u64) < MAX_XZ).then_some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn section(kind: u32, size: u64, packed: &[u8]) -> Vec<u8> {
        let mut out = kind.to_le_bytes().to_vec();
        out.extend([0; 4]);
        out.extend(size.to_le_bytes());
        out.extend(1_u64.to_le_bytes());
        out.extend(packed);
        out
    }

    /// A section is unpacked to exactly the size it states; another size, an unknown method and every damage give nothing or the right length.
    #[test]
    fn sizes_are_not_believed() {
        let plain: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&plain).unwrap();
        let packed = encoder.finish().unwrap();
        let good = section(1, plain.len() as u64, &packed);
        let unpack = |section: &[u8]| {
            let unpacker = unpacker(section, section.len() as u64, &Budget::default());
            Some(unpacker?.all()?.get().to_vec())
        };
        assert_eq!(unpack(&good).unwrap(), plain);
        assert_eq!(unpack(&section(1, plain.len() as u64 + 1, &packed)), None);
        assert_eq!(unpack(&section(1, u64::MAX, &packed)), None);
        assert_eq!(unpack(&section(1, 1 << 31, &packed)), None);
        assert_eq!(unpack(&section(9, plain.len() as u64, &packed)), None);
        for at in 0..good.len().min(200) {
            let mut damaged = good.clone();
            damaged[at] ^= 0x55;
            let size = Bytes(&damaged).u64(8).unwrap();
            assert!(unpack(&damaged).is_none_or(|out| out.len() as u64 == size));
            assert_eq!(unpack(&good[..at]), None);
        }
        assert_eq!(unpack_xz(b"\xfd7zXZ\0\0\x04"), None);
        assert_eq!(unpack_xz(b""), None);
    }
}
