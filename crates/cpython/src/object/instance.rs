use firefinch_memory::{Bytes, RemoteAddr};

use super::{ObjectError, Objects};
use crate::layout::Field;

/// Attributes as (name, value) pairs.
type Attributes = Vec<(RemoteAddr, RemoteAddr)>;

impl Objects<'_> {
    /// The attribute `wanted` (ASCII) in the `__dict__` of an instance.
    pub(crate) fn attribute(
        &self,
        object: RemoteAddr,
        wanted: &str,
    ) -> Result<Option<RemoteAddr>, ObjectError> {
        self.find(self.attributes(object)?, wanted)
    }

    /// What is in the `__dict__` of an instance of a Python class, made or not.
    fn attributes(&self, object: RemoteAddr) -> Result<Attributes, ObjectError> {
        let (kind, flags) = self.kind_of(object)?;
        let has = |field| {
            self.layout
                .get(field)
                .is_some_and(|mask| flags & mask as u64 != 0)
        };
        if has(Field::TpflagsManagedDict) {
            return self.managed(object, kind, has(Field::TpflagsInlineValues));
        }
        let offset = self.word(kind, Field::TypeDictoffset)?.cast_signed();
        let none = ObjectError::Unexpected {
            expected: "instance with a __dict__",
            addr: object,
        };
        let offset = u64::try_from(offset).map_err(|_| none)?;
        if offset == 0 {
            return Err(none);
        }
        let dict = self.memory.read_ptr(object.offset(offset))?;
        if dict.is_null() {
            Ok(Vec::new())
        } else {
            self.dict(dict)
        }
    }

    /// The dict or values that stand before the object from 3.11 on
    /// (`Include/internal/pycore_object.h`).
    fn managed(
        &self,
        object: RemoteAddr,
        kind: RemoteAddr,
        inline: bool,
    ) -> Result<Attributes, ObjectError> {
        let before = |words: usize| object.offset((words as u64 * 8).wrapping_neg());
        let words = self.layout.need(Field::ManagedDictWords)?;
        let dict = self.memory.read_ptr(before(words))?;
        if inline {
            // 3.13 and later: the values follow the object itself, unless a
            // dict has taken them over.
            if !dict.is_null() {
                return self.dict(dict);
            }
            let size = self.word(kind, Field::TypeBasicsize)?;
            return self.cached(kind, object.offset(size));
        }
        if let Some(words) = self.layout.get(Field::ManagedValuesWords) {
            // 3.11: a slot of its own for the values.
            let values = self.memory.read_ptr(before(words))?;
            if !values.is_null() {
                return self.cached(kind, values);
            }
        } else if dict.get() & 1 == 1 {
            // 3.12: one slot for both; values are marked by pointing a byte too low.
            return self.cached(kind, dict.offset(1));
        }
        if dict.is_null() {
            Ok(Vec::new())
        } else {
            self.dict(dict)
        }
    }

    /// Values at `values`, named by the keys that the class keeps for its instances.
    fn cached(&self, kind: RemoteAddr, values: RemoteAddr) -> Result<Attributes, ObjectError> {
        let keys = self.ptr(kind, Field::TypeHtCachedKeys)?;
        let mut entries = self.entries(keys)?;
        if let Some(capacity) = self.layout.get(Field::DictValuesCapacity) {
            let mut head = [0; 8];
            self.memory.read(values, &mut head)?;
            let capacity = Bytes(&head).u8(capacity).unwrap_or(0);
            entries.truncate(usize::from(capacity));
        }
        let first = self.layout.get(Field::DictValuesValues).unwrap_or(0);
        self.split(entries, values.offset(first as u64))
    }
}
