use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::id::Handle;

/// Values stored once, in the order of first appearance, found again in O(1).
///
/// The hash table holds handles only and looks the values up in `items`, so
/// nothing is stored twice. It is never iterated: the order of everything
/// depends on insertion alone, whatever the hash seed.
#[derive(Clone, Debug)]
pub(crate) struct Interner<Id, T> {
    items: Vec<T>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    id: PhantomData<Id>,
}

impl<Id, T> Default for Interner<Id, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            id: PhantomData,
        }
    }
}

impl<Id: Handle, T: Copy + Eq + Hash> Interner<Id, T> {
    /// The handle of `item`, which is stored if it is new.
    pub(crate) fn intern(&mut self, item: T) -> Id {
        let Self {
            items,
            table,
            hasher,
            ..
        } = self;
        let hash = hasher.hash_one(item);
        if let Some(&at) = table.find(hash, |&at| items[at as usize] == item) {
            return Id::from_index(at as usize);
        }
        let id = Id::from_index(items.len());
        // `from_index` has checked that it fits.
        let at = u32::try_from(items.len()).unwrap_or(u32::MAX);
        items.push(item);
        table.insert_unique(hash, at, |&at| hasher.hash_one(items[at as usize]));
        id
    }

    /// The value behind `id`.
    pub(crate) fn get(&self, id: Id) -> &T {
        &self.items[id.to_index()]
    }

    /// All values in the order of their handles.
    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }

    /// Bytes held on the heap, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.table.allocation_size()
    }
}
