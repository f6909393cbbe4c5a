use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use firefinch_memory::Bytes;

use crate::image::{Part, Section, Unpacker};

/// `.debug_info`, of which no more is read or unpacked than is asked for: of a
/// packed one what lies before that.
pub(super) struct UnitBytes {
    section: Option<Section>,
    /// Units that may be asked for, by their offset.
    listed: OnceLock<HashMap<usize, OnceLock<Option<Part>>>>,
    state: Mutex<State>,
    whole: OnceLock<Option<Part>>,
}

/// What was read so far.
#[derive(Default)]
struct State {
    /// How many bytes of units are kept.
    kept: u64,
    packed: Option<Prefix>,
}

/// The first bytes of a packed section.
struct Prefix {
    unpacker: Unpacker<'static>,
    /// All there will be, zeros from `len` on.
    bytes: Vec<u8>,
    len: usize,
}

/// Unpacked at once, at least.
const STEP: usize = 128 << 10;

/// The longest start of a unit: a word that says that the length is in the next
/// eight bytes, and those (DWARF 5, 7.4).
const MAX_LENGTH: u64 = 12;

impl UnitBytes {
    pub(super) fn new(section: Option<&Section>) -> Self {
        Self {
            section: section.cloned(),
            listed: OnceLock::new(),
            state: Mutex::default(),
            whole: OnceLock::new(),
        }
    }

    /// Says at which offsets units can be had alone. Only the first call counts.
    pub(super) fn list(&self, offsets: impl Iterator<Item = usize>) {
        let slots = offsets.map(|offset| (offset, OnceLock::new()));
        self.listed.get_or_init(|| slots.collect());
    }

    /// The unit at an offset, from its length on; `None` if it is not there.
    pub(super) fn unit(&self, offset: usize) -> Option<&[u8]> {
        if self.whole.get().is_none()
            && let Some(slot) = self.listed.get().and_then(|listed| listed.get(&offset))
            && let Some(unit) = slot.get_or_init(|| self.read(offset))
        {
            return Some(unit.get());
        }
        let rest = self.whole()?.get(offset..)?;
        rest.get(..usize::try_from(length(rest)?).ok()?)
    }

    /// All of it; `None` if it cannot be had.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        let read = || {
            let section = self.section.as_ref()?;
            if !section.compressed {
                return section.part(0, section.len());
            }
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut prefix = match state.packed.take() {
                Some(prefix) => prefix,
                None => Prefix::new(section.unpacker()?),
            };
            let size = prefix.bytes.len();
            prefix.up_to(size)?;
            Some(Part::copied(prefix.bytes, prefix.unpacker.held))
        };
        self.whole.get_or_init(read).as_ref().map(Part::get)
    }

    /// Reads one unit; `None` too if that would keep more than there is: units that
    /// a file lists may lie in each other.
    fn read(&self, offset: usize) -> Option<Part> {
        let section = self.section.as_ref()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let start = u64::try_from(offset).ok()?;
        if !section.compressed {
            let rest = section.len().checked_sub(start)?;
            let head = section.part(start, rest.min(MAX_LENGTH))?;
            let len = length(head.get())?;
            state.keep(len, section.len())?;
            return section.part(start, len);
        }
        if state.packed.is_none() {
            state.packed = Some(Prefix::new(section.unpacker()?));
        }
        let prefix = state.packed.as_mut()?;
        let size = prefix.bytes.len();
        let head = offset.checked_add(usize::try_from(MAX_LENGTH).ok()?)?;
        let head = prefix.up_to(head.min(size))?.get(offset..)?;
        let len = length(head)?;
        let end = offset.checked_add(usize::try_from(len).ok()?)?;
        let unit = prefix.up_to(end)?.get(offset..)?.to_vec();
        state.keep(len, u64::try_from(size).ok()?)?;
        Some(Part::copied(unit, section.hold(len)?))
    }
}

impl State {
    /// Counts what is kept; `None` if that would be more than `most`.
    fn keep(&mut self, len: u64, most: u64) -> Option<()> {
        let kept = self.kept.checked_add(len).filter(|kept| *kept <= most)?;
        self.kept = kept;
        Some(())
    }
}

impl Prefix {
    fn new(unpacker: Unpacker<'static>) -> Self {
        Self {
            // Memory that is not written to is none.
            bytes: vec![0; unpacker.size],
            unpacker,
            len: 0,
        }
    }

    /// The bytes before `end`; `None` if there are fewer, or they are damaged.
    fn up_to(&mut self, end: usize) -> Option<&[u8]> {
        if end > self.len {
            let size = self.bytes.len();
            let to = end.max(self.len.saturating_add(STEP)).min(size);
            let room = self.bytes.get_mut(self.len..to)?;
            self.unpacker.bytes.read_exact(room).ok()?;
            self.len = to;
        }
        self.bytes.get(..end)
    }
}

/// How long the unit is that starts here, with the bytes that say so.
fn length(unit: &[u8]) -> Option<u64> {
    match Bytes(unit).u32(0)? {
        u32::MAX => Bytes(unit).u64(4)?.checked_add(MAX_LENGTH),
        short => Some(u64::from(short) + 4),
    }
}

impl fmt::Debug for UnitBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitBytes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::ops::Range;
    use std::sync::Arc;

    use super::*;
    use crate::image::{ObjectBytes, ObjectSource};

    /// What was read of a file.
    #[derive(Clone, Default)]
    struct Watched {
        file: Arc<Vec<u8>>,
        read: Arc<Mutex<Vec<Range<u64>>>>,
    }

    impl ObjectSource for Watched {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let bytes = self.file.get(start..start + buf.len());
            buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            let range = offset..offset + buf.len() as u64;
            self.read.lock().unwrap().push(range);
            Ok(())
        }
    }

    /// Units of these sizes, and where each is; their bytes cannot be packed to much
    /// less.
    fn units(sizes: &[u32]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let mut random = 1_u64;
        for size in sizes {
            let start = bytes.len();
            bytes.extend((size - 4).to_le_bytes());
            bytes.extend((4..*size).map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                random.to_le_bytes()[7]
            }));
            places.push(start..bytes.len());
        }
        (bytes, places)
    }

    /// The same as a section, read from a file, and that file.
    fn opened(file: Vec<u8>, compressed: bool) -> (UnitBytes, Watched) {
        let watched = Watched {
            file: Arc::new(file),
            ..Watched::default()
        };
        let bytes = ObjectBytes::read_from(watched.file.len() as u64, watched.clone());
        let section = Section::of(&bytes, compressed);
        (UnitBytes::new(Some(&section)), watched)
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut file = 1_u64.to_le_bytes().to_vec();
        file.extend((plain.len() as u64).to_le_bytes());
        file.extend(1_u64.to_le_bytes());
        let mut encoder = flate2::write::ZlibEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// Units are the same packed and plain, in whatever order they are asked for, before and after all is; what is not asked for is not read, and of a packed section nothing far behind that.
    #[test]
    fn no_more_than_asked_for() {
        let (plain, places) = units(&[1_000_000, 12, 500_000, 2_000_000]);
        for (file, compressed) in [(plain.clone(), false), (packed(&plain), true)] {
            let (bytes, watched) = opened(file, compressed);
            let listed = [&places[0], &places[2], &places[3]];
            bytes.list(listed.iter().map(|place| place.start));
            for place in [&places[2], &places[0]] {
                assert_eq!(bytes.unit(place.start), plain.get(place.clone()));
            }
            let read = std::mem::take(&mut *watched.read.lock().unwrap());
            let last = read.iter().map(|range| range.end).max().unwrap();
            assert!(last < 2_000_000, "{compressed} {read:?}");
            if !compressed {
                let others = places[1].start as u64..places[1].end as u64;
                let is_other =
                    |range: &Range<u64>| range.start < others.end && others.start < range.end;
                assert!(!read.iter().any(is_other), "{read:?}");
            }
            // Not listed: found in all of it.
            assert_eq!(bytes.unit(places[1].start), plain.get(places[1].clone()));
            assert_eq!(bytes.unit(places[3].start), plain.get(places[3].clone()));
            assert_eq!(bytes.unit(plain.len()), None);
            assert_eq!(bytes.whole(), Some(&*plain));
        }
    }

    /// Units that lie in each other, reach beyond the end or are damaged take no more memory than the section, and are what is there or nothing.
    #[test]
    fn hostile_lists() {
        let mut plain = vec![0; 4096];
        for at in (0..4096).step_by(4) {
            let size: u32 = if at % 8 == 0 { 2000 } else { u32::MAX };
            plain[at..at + 4].copy_from_slice(&size.to_le_bytes());
        }
        for (file, compressed) in [(plain.clone(), false), (packed(&plain), true)] {
            let (bytes, _) = opened(file.clone(), compressed);
            bytes.list((0..8192).chain([usize::MAX]));
            for offset in (0..8192).chain([usize::MAX]) {
                let unit = bytes.unit(offset);
                assert!(unit.is_none_or(|unit| plain[offset..].starts_with(unit)));
            }
            assert!(bytes.state.lock().unwrap().kept <= plain.len() as u64);
            let (bytes, _) = opened(file[..file.len() / 2].to_vec(), compressed);
            bytes.list([0, 3000].into_iter());
            assert_eq!(bytes.unit(3000), None);
            assert_eq!(bytes.whole().is_some(), !compressed);
        }
        assert_eq!(UnitBytes::new(None).unit(0), None);
    }
}
