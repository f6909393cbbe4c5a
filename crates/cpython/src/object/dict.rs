use firefinch_memory::{Bytes, RemoteAddr};

use super::{MAX_ITEMS, ObjectError, Objects, Subclass, words};
use crate::layout::Field;

/// The most bytes that a dict's table or entries are believed to take.
const MAX_TABLE: usize = 64 << 20;

impl Objects<'_> {
    /// Keys and values of a `dict`, in order of insertion (2.7: of the table).
    pub(crate) fn dict(
        &self,
        object: RemoteAddr,
    ) -> Result<Vec<(RemoteAddr, RemoteAddr)>, ObjectError> {
        self.expect(object, Subclass::Dict, "dict")?;
        if self.layout.get(Field::DictTable).is_some() {
            return self.hash_table(object);
        }
        let keys = self.ptr(object, Field::DictKeys)?;
        let values = self.ptr(object, Field::DictValues)?;
        let entries = self.entries(keys)?;
        if values.is_null() {
            return Ok(present(entries));
        }
        let values = values.offset(self.layout.get(Field::DictValuesValues).unwrap_or(0) as u64);
        self.split(entries, values)
    }

    /// The value of the key `wanted`, which is ASCII text.
    pub(crate) fn dict_get(
        &self,
        object: RemoteAddr,
        wanted: &str,
    ) -> Result<Option<RemoteAddr>, ObjectError> {
        self.find(self.dict(object)?, wanted)
    }

    /// The value whose key is `wanted`. The first key that cannot be read ends
    /// the search: the table is not what it seemed, and may be very long.
    pub(super) fn find(
        &self,
        items: Vec<(RemoteAddr, RemoteAddr)>,
        wanted: &str,
    ) -> Result<Option<RemoteAddr>, ObjectError> {
        for (key, value) in items {
            if self.text_is(key, wanted)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Pairs the keys of `entries` with the values of a split table at `values`.
    pub(super) fn split(
        &self,
        entries: Vec<(RemoteAddr, RemoteAddr)>,
        values: RemoteAddr,
    ) -> Result<Vec<(RemoteAddr, RemoteAddr)>, ObjectError> {
        let bytes = self
            .memory
            .read_vec(values, entries.len() as u64 * 8, MAX_TABLE)?;
        let values = words(&bytes);
        let pairs = entries.into_iter().zip(values);
        Ok(present(
            pairs.map(|((key, _), value)| (key, value)).collect(),
        ))
    }

    /// The entries of a keys object (`PyDictKeysObject`, `Objects/dict-common.h`,
    /// later `Include/internal/pycore_dict.h`), with holes.
    pub(super) fn entries(
        &self,
        keys: RemoteAddr,
    ) -> Result<Vec<(RemoteAddr, RemoteAddr)>, ObjectError> {
        let layout = self.layout;
        let indices = layout.need(Field::DictKeysIndices)?;
        let mut header = vec![0; indices];
        self.memory.read(keys, &mut header)?;
        let view = Bytes(&header);
        let unexpected = ObjectError::Unexpected {
            expected: "dict keys",
            addr: keys,
        };
        let power = |offset: usize| 1_u64.checked_shl(u32::from(view.u8(offset)?));
        let capacity = match layout.get(Field::DictKeysLog2Size) {
            Some(log2) => power(log2),
            None => view.u64(layout.need(Field::DictKeysSize)?),
        };
        let capacity = capacity.filter(|c| *c <= MAX_ITEMS).ok_or(unexpected)?;
        let count = view
            .u64(layout.need(Field::DictKeysNentries)?)
            .filter(|count| *count <= capacity)
            .ok_or(unexpected)?;
        let index_bytes = match layout.get(Field::DictKeysLog2IndexBytes) {
            Some(log2) => power(log2)
                .filter(|b| *b <= 8 * MAX_ITEMS)
                .ok_or(unexpected)?,
            None => {
                // DK_IXSIZE, Objects/dictobject.c
                let width = match capacity {
                    0..=0xff => 1,
                    0x100..=0xffff => 2,
                    0x1_0000..=0xffff_ffff => 4,
                    _ => 8,
                };
                capacity * width
            }
        };
        let general = match layout.get(Field::DictKeysKind) {
            Some(kind) => {
                let general = layout.need(Field::DictKeysKindGeneral)?;
                view.u8(kind).map(usize::from) == Some(general)
            }
            None => true,
        };
        let (size, key, value) = if general {
            (
                Field::KeyEntrySize,
                Field::KeyEntryKey,
                Field::KeyEntryValue,
            )
        } else {
            (
                Field::UnicodeEntrySize,
                Field::UnicodeEntryKey,
                Field::UnicodeEntryValue,
            )
        };
        let (size, key, value) = (layout.need(size)?, layout.need(key)?, layout.need(value)?);
        let start = keys.offset(indices as u64).offset(index_bytes);
        let bytes = self
            .memory
            .read_vec(start, count * size as u64, MAX_TABLE)?;
        let entry = |entry: &[u8]| Some((Bytes(entry).ptr(key)?, Bytes(entry).ptr(value)?));
        Ok(bytes.chunks_exact(size).filter_map(entry).collect())
    }

    /// 2.7's open hash table (`Include/dictobject.h`).
    fn hash_table(&self, object: RemoteAddr) -> Result<Vec<(RemoteAddr, RemoteAddr)>, ObjectError> {
        let layout = self.layout;
        let mask = self.word(object, Field::DictMask)?;
        if mask >= MAX_ITEMS {
            let expected = "dict";
            let addr = object;
            return Err(ObjectError::Unexpected { expected, addr });
        }
        let table = self.ptr(object, Field::DictTable)?;
        let size = layout.need(Field::DictEntrySize)?;
        let key = layout.need(Field::DictEntryKey)?;
        let value = layout.need(Field::DictEntryValue)?;
        let bytes = self
            .memory
            .read_vec(table, (mask + 1) * size as u64, MAX_TABLE)?;
        let entry = |entry: &[u8]| Some((Bytes(entry).ptr(key)?, Bytes(entry).ptr(value)?));
        Ok(present(
            bytes.chunks_exact(size).filter_map(entry).collect(),
        ))
    }
}

fn present(mut entries: Vec<(RemoteAddr, RemoteAddr)>) -> Vec<(RemoteAddr, RemoteAddr)> {
    entries.retain(|(key, value)| !key.is_null() && !value.is_null());
    entries
}
