use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::StringId;
use crate::id::Handle;

/// Strings stored once, one after another in a single buffer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings {
    text: String,
    /// Where each string ends in `text`; it starts where the one before ends.
    ends: Vec<usize>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Strings {
    /// The handle of `string`, which is stored if it is new.
    pub(crate) fn intern(&mut self, string: &str) -> StringId {
        let Self {
            text,
            ends,
            table,
            hasher,
        } = self;
        let hash = hasher.hash_one(string);
        if let Some(&at) = table.find(hash, |&at| slice(text, ends, at as usize) == string) {
            return StringId::from_index(at as usize);
        }
        let id = StringId::from_index(ends.len());
        // `from_index` has checked that it fits.
        let at = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        text.push_str(string);
        ends.push(text.len());
        table.insert_unique(hash, at, |&at| {
            hasher.hash_one(slice(text, ends, at as usize))
        });
        id
    }

    /// The string behind `id`.
    pub(crate) fn get(&self, id: StringId) -> &str {
        slice(&self.text, &self.ends, id.to_index())
    }

    /// Bytes held on the heap, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.text.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.table.allocation_size()
    }
}

fn slice<'a>(text: &'a str, ends: &[usize], at: usize) -> &'a str {
    let start = if at == 0 { 0 } else { ends[at - 1] };
    &text[start..ends[at]]
}
