use std::cell::OnceCell;

use object::ReadRef;

use super::ObjectBytes;
use super::bytes::Part;

/// Reads the headers of a file for a parser that wants to borrow them: keeps
/// each part that it asks for.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    bytes: &'a ObjectBytes,
    parts: Parts,
}

/// A list that grows while its elements are borrowed.
#[derive(Debug, Default)]
struct Parts(OnceCell<Box<(Part, Parts)>>);

/// More than the headers that are looked at and their names take.
const MAX_SIZE: u64 = 16 << 20;

impl<'a> Headers<'a> {
    pub(super) fn of(bytes: &'a ObjectBytes) -> Self {
        Self {
            bytes,
            parts: Parts::default(),
        }
    }
}

impl Parts {
    fn keep(&self, part: Part) -> &[u8] {
        let mut at = self;
        while let Some(kept) = at.0.get() {
            at = &kept.1;
        }
        let kept = at.0.get_or_init(|| Box::new((part, Self::default())));
        kept.0.get()
    }
}

impl<'a> ReadRef<'a> for &'a Headers<'_> {
    fn len(self) -> Result<u64, ()> {
        Ok(self.bytes.len())
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        let end = offset.checked_add(size).filter(|_| size <= MAX_SIZE);
        let part = self.bytes.part(offset..end.ok_or(())?).ok_or(())?;
        Ok(self.parts.keep(part))
    }

    fn read_bytes_at_until(
        self,
        range: std::ops::Range<u64>,
        delimiter: u8,
    ) -> Result<&'a [u8], ()> {
        let size = range.end.checked_sub(range.start).ok_or(())?;
        let bytes = self.read_bytes_at(range.start, size)?;
        let end = bytes.iter().position(|byte| *byte == delimiter).ok_or(())?;
        bytes.get(..end).ok_or(())
    }
}
