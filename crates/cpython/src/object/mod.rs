//! The few kinds of objects whose contents are needed: text, integers, lists,
//! dicts, and the attributes of instances.

mod dict;
mod instance;
mod text;

use std::fmt;

use firefinch_memory::{Memory, ReadError, RemoteAddr};

use crate::layout::{Field, Layout, MissingField};

/// Why an object could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectError {
    /// Its memory could not be read.
    Read(ReadError),
    /// The layout lacks a field that it needs.
    Layout(MissingField),
    /// It is not what it should be.
    Unexpected {
        /// What was expected at the address.
        expected: &'static str,
        /// The object.
        addr: RemoteAddr,
    },
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => e.fmt(f),
            Self::Layout(e) => e.fmt(f),
            Self::Unexpected { expected, addr } => write!(f, "no {expected} at {addr}"),
        }
    }
}

impl std::error::Error for ObjectError {}

impl From<ReadError> for ObjectError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<MissingField> for ObjectError {
    fn from(error: MissingField) -> Self {
        Self::Layout(error)
    }
}

/// `sys.modules` of a large program has some ten thousand entries.
const MAX_ITEMS: u64 = 1 << 20;
/// `sys.path` has some dozens.
const MAX_LIST: usize = 4_096;

/// Decodes objects of one interpreter.
#[derive(Clone, Copy)]
pub(crate) struct Objects<'a> {
    memory: &'a dyn Memory,
    layout: &'a Layout,
}

impl fmt::Debug for Objects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("layout", self.layout)
            .finish_non_exhaustive()
    }
}

/// Bits of `tp_flags` that say which builtin type a type derives from
/// (`Include/object.h`, the same from 2.7 to 3.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subclass {
    /// 2.7 only.
    Int = 23,
    Long = 24,
    List = 25,
    /// `str` in 2.7.
    Bytes = 27,
    Unicode = 28,
    Dict = 29,
}

impl<'a> Objects<'a> {
    pub(crate) fn new(memory: &'a dyn Memory, layout: &'a Layout) -> Self {
        Self { memory, layout }
    }

    fn ptr(&self, object: RemoteAddr, field: Field) -> Result<RemoteAddr, ObjectError> {
        let offset = self.layout.need(field)? as u64;
        Ok(self.memory.read_ptr(object.offset(offset))?)
    }

    fn word(&self, object: RemoteAddr, field: Field) -> Result<u64, ObjectError> {
        self.ptr(object, field).map(RemoteAddr::get)
    }

    fn kind_of(&self, object: RemoteAddr) -> Result<(RemoteAddr, u64), ObjectError> {
        let kind = self.ptr(object, Field::ObjectType)?;
        let flags = self.word(kind, Field::TypeFlags)?;
        Ok((kind, flags))
    }

    fn is(&self, object: RemoteAddr, subclass: Subclass) -> Result<bool, ObjectError> {
        let (_, flags) = self.kind_of(object)?;
        Ok(flags >> subclass as u32 & 1 == 1)
    }

    fn expect(
        &self,
        object: RemoteAddr,
        subclass: Subclass,
        expected: &'static str,
    ) -> Result<(), ObjectError> {
        if !object.is_null() && self.is(object, subclass)? {
            Ok(())
        } else {
            let addr = object;
            Err(ObjectError::Unexpected { expected, addr })
        }
    }

    /// A non-negative `int` (or 2.7's `long`) that fits 64 bits.
    pub(crate) fn unsigned(&self, object: RemoteAddr) -> Result<u64, ObjectError> {
        if let Some(value) = self.layout.get(Field::IntValue)
            && self.is(object, Subclass::Int)?
        {
            return Ok(self.memory.read_u64(object.offset(value as u64))?);
        }
        self.expect(object, Subclass::Long, "int")?;
        // 3.12 keeps the count of digits above three bits of sign and flags
        // (`Include/internal/pycore_long.h`).
        let digits = match self.layout.get(Field::LongTag) {
            Some(_) => self.word(object, Field::LongTag)? >> 3,
            None => self.word(object, Field::LongSize)?,
        };
        let (bits, size) = (
            self.layout.need(Field::LongDigitBits)?,
            self.layout.need(Field::LongDigitSize)?,
        );
        let base = object.offset(self.layout.need(Field::LongDigits)? as u64);
        // Three digits of 30 bits, or five of 15, hold any 64-bit number.
        let unexpected = ObjectError::Unexpected {
            expected: "64-bit int",
            addr: object,
        };
        if digits > 5 || !matches!(size, 2 | 4) {
            return Err(unexpected);
        }
        let bytes = self.memory.read_vec(base, digits * size as u64, 20)?;
        let value = bytes.chunks_exact(size).rev().fold(0_u128, |sum, digit| {
            let digit = digit
                .iter()
                .rev()
                .fold(0_u128, |d, b| d << 8 | u128::from(*b));
            sum << bits | digit
        });
        u64::try_from(value).map_err(|_| unexpected)
    }

    /// The items of a `list`.
    pub(crate) fn list(&self, object: RemoteAddr) -> Result<Vec<RemoteAddr>, ObjectError> {
        self.expect(object, Subclass::List, "list")?;
        let count = self.word(object, Field::ListSize)?;
        let count = usize::try_from(count).map_or(MAX_LIST, |count| count.min(MAX_LIST));
        let items = self.ptr(object, Field::ListItems)?;
        let mut bytes = vec![0; count * 8];
        self.memory.read(items, &mut bytes)?;
        Ok(words(&bytes))
    }
}

/// The pointers in a block of memory.
fn words(bytes: &[u8]) -> Vec<RemoteAddr> {
    let word = |w: &[u8]| firefinch_memory::Bytes(w).ptr(0).unwrap_or_default();
    bytes.chunks_exact(8).map(word).collect()
}
