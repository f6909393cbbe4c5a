use firefinch_memory::{Bytes, RemoteAddr};

use super::{ObjectError, Objects, Subclass};
use crate::layout::Field;

/// The longest text that is read, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// Where a `str` keeps its characters, and how wide each is.
#[derive(Clone, Copy, Debug)]
struct Characters {
    addr: RemoteAddr,
    count: u64,
    /// Bytes per character: 1 (Latin-1), 2 (UCS-2) or 4 (UCS-4).
    width: u64,
}

/// How a text is stored.
enum Stored {
    Characters(Characters),
    /// In a 2.7 `str`.
    Bytes,
}

impl Objects<'_> {
    /// The text of a `str`, or of 2.7's `str` or `unicode`, of at most so many
    /// bytes. What is not valid (a lone surrogate, bytes that are not UTF-8) becomes U+FFFD.
    ///
    /// # Errors
    /// A longer one, and what is no text.
    pub(crate) fn text_within(
        &self,
        object: RemoteAddr,
        limit: usize,
    ) -> Result<String, ObjectError> {
        match self.stored(object)? {
            Stored::Characters(Characters { addr, count, width }) => {
                let len = count.saturating_mul(width);
                Ok(decode(&self.memory.read_vec(addr, len, limit)?, width))
            }
            Stored::Bytes => {
                let bytes = self.bytes_within(object, limit)??;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// The same of any length, of which so many characters are read, and an ellipsis shows
    /// that there are more.
    pub(crate) fn text_cut(&self, object: RemoteAddr, limit: u32) -> Result<String, ObjectError> {
        let limit = u64::from(limit);
        let (addr, count, width) = match self.stored(object)? {
            Stored::Characters(Characters { addr, count, width }) => (addr, count, width),
            Stored::Bytes => {
                let data = self.layout.need(Field::BytesData)? as u64;
                let len = self.word(object, Field::BytesSize)?;
                (object.offset(data), len, 1)
            }
        };
        if count <= limit {
            return self.text_within(object, MAX_TEXT);
        }
        let bytes = self.memory.read_vec(addr, limit * width, MAX_TEXT)?;
        Ok(decode(&bytes, width) + "…")
    }

    fn stored(&self, object: RemoteAddr) -> Result<Stored, ObjectError> {
        let (_, flags) = self.kind_of(object)?;
        let is = |subclass| flags >> subclass as u32 & 1 == 1;
        if is(Subclass::Unicode) {
            Ok(Stored::Characters(self.characters(object)?))
        } else if is(Subclass::Bytes) {
            Ok(Stored::Bytes)
        } else {
            Err(ObjectError::Unexpected {
                expected: "str",
                addr: object,
            })
        }
    }

    /// The contents of a `bytes`, or of 2.7's `str`, of at most so many bytes.
    ///
    /// # Errors
    /// The outer one if there is no such object, the inner one if there is one
    /// whose contents cannot be had.
    pub(crate) fn bytes_within(
        &self,
        object: RemoteAddr,
        limit: usize,
    ) -> Result<Result<Vec<u8>, ObjectError>, ObjectError> {
        self.expect(object, Subclass::Bytes, "bytes")?;
        let len = self.word(object, Field::BytesSize)?;
        let data = object.offset(self.layout.need(Field::BytesData)? as u64);
        Ok(self.memory.read_vec(data, len, limit).map_err(Into::into))
    }

    /// Whether `object` is the text `wanted`, which is ASCII: cheaper than
    /// reading it, as its length alone decides nearly always.
    ///
    /// # Errors
    /// If `object` cannot be read at all; what is no text is not `wanted`.
    pub(crate) fn text_is(&self, object: RemoteAddr, wanted: &str) -> Result<bool, ObjectError> {
        let len = match self.layout.get(Field::StrAsciiLength) {
            Some(_) => self.word(object, Field::StrAsciiLength)?,
            None => self.word(object, Field::BytesSize)?,
        };
        // Four bytes to a character at most.
        let text = || self.text_within(object, 4 * wanted.len());
        Ok(len == wanted.len() as u64 && text().is_ok_and(|text| text == wanted))
    }

    fn characters(&self, object: RemoteAddr) -> Result<Characters, ObjectError> {
        let layout = self.layout;
        let Some(state) = layout.get(Field::StrAsciiState) else {
            // 2.7's `unicode` (`Include/unicodeobject.h`).
            return Ok(Characters {
                addr: self.ptr(object, Field::UnicodeBuffer)?,
                count: self.word(object, Field::UnicodeLength)?,
                width: layout.need(Field::UnicodeWidth)? as u64,
            });
        };
        let compact_size = layout.need(Field::StrCompactSize)?;
        let ascii_size = layout.need(Field::StrAsciiSize)?;
        let unexpected = ObjectError::Unexpected {
            expected: "str",
            addr: object,
        };
        let mut header = vec![0; compact_size];
        // An ASCII string at the end of a page has no more than its own header.
        if self.memory.read(object, &mut header).is_err() {
            // The sizes of both may be what the target says.
            let ascii = header.get_mut(..ascii_size).ok_or(unexpected)?;
            self.memory.read(object, ascii)?;
        }
        let view = Bytes(&header);
        let state = view.u32(state).ok_or(unexpected)?;
        let bit =
            |field| -> Result<bool, ObjectError> { Ok(state >> layout.need(field)? & 1 == 1) };
        let kind = state >> layout.need(Field::StrKindBit)? & 7;
        let count = view
            .u64(layout.need(Field::StrAsciiLength)?)
            .ok_or(unexpected)?;
        let addr = if !bit(Field::StrCompactBit)? {
            self.ptr(object, Field::StrLegacyData)?
        } else if bit(Field::StrAsciiBit)? {
            object.offset(ascii_size as u64)
        } else {
            object.offset(compact_size as u64)
        };
        match kind {
            1 | 2 | 4 => Ok(Characters {
                addr,
                count,
                width: u64::from(kind),
            }),
            _ => Err(unexpected),
        }
    }
}

fn decode(bytes: &[u8], width: u64) -> String {
    match width {
        1 => bytes.iter().copied().map(char::from).collect(),
        2 => {
            let units = bytes
                .chunks_exact(2)
                .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
            // 2.7 may keep surrogate pairs; 3.x never does for these.
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => bytes
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use firefinch_memory::{Memory, ReadError};

    use super::*;
    use crate::layout::{Build, Layout, Version};

    /// Each word is this, wherever it lies.
    struct Uniform(u64, Cell<usize>);

    impl Memory for Uniform {
        fn read(&self, _: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
            self.1.set(self.1.get().max(buf.len()));
            let word = self.0.to_le_bytes().into_iter().cycle();
            buf.iter_mut().zip(word).for_each(|(to, from)| *to = from);
            Ok(())
        }
    }

    /// A `bytes` without end is there, but its contents are not asked for; what
    /// is no `bytes` is not there.
    #[test]
    fn no_bytes_without_end() {
        let version = Version::released(3, 10, 0);
        let layout = Layout::of(version, Build::Release).unwrap();
        let limit = 64 << 20;
        let memory = Uniform(u64::MAX, Cell::new(0));
        let objects = Objects::new(&memory, &layout);
        let found = objects.bytes_within(RemoteAddr::new(8), limit);
        assert!(found.unwrap().is_err());
        assert_eq!(memory.1.get(), 8);
        let memory = Uniform(1, Cell::new(0));
        let objects = Objects::new(&memory, &layout);
        assert!(objects.bytes_within(RemoteAddr::new(8), limit).is_err());
    }

    /// Memory that ends after so many bytes.
    struct Ends(u64);

    impl Memory for Ends {
        fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
            if addr.get() + buf.len() as u64 > self.0 {
                let (len, kind) = (buf.len(), firefinch_memory::ReadErrorKind::Unmapped);
                return Err(ReadError { addr, len, kind });
            }
            buf.fill(0xff);
            Ok(())
        }
    }

    /// A text at the end of memory whose headers are said to be longer than any is refused.
    #[test]
    fn headers_of_any_size() {
        let version = Version::released(3, 13, 0);
        for size in [0, 8, 40, 57, 0x3f_ffff] {
            let mut layout = Layout::of(version, Build::Release).unwrap();
            layout.set(Field::StrAsciiSize, size);
            let objects = Objects::new(&Ends(48), &layout);
            let _ = objects.characters(RemoteAddr::new(0));
            assert!(objects.characters(RemoteAddr::new(16)).is_err());
        }
    }

    /// A name of any length is cut, and nothing behind that is read.
    #[test]
    fn long_texts_are_cut() {
        let version = Version::released(2, 7, 0);
        let layout = Layout::of(version, Build::Release).unwrap();
        let is_bytes = 1 << Subclass::Bytes as u32;
        let memory = Uniform(is_bytes, Cell::new(0));
        let objects = Objects::new(&memory, &layout);
        let text = objects.text_cut(RemoteAddr::new(8), 100).unwrap();
        assert_eq!((text.chars().count(), memory.1.get()), (101, 100));
        assert!(objects.text_within(RemoteAddr::new(8), 100).is_err());
    }
}
