use std::sync::Arc;

use super::CodeCache;
use crate::lines::LineTable;

/// Code objects that are kept whether anybody runs them or not; a large program has
/// some ten thousand.
const MIN_ENTRIES: usize = 1 << 14;
/// Bytes of line tables that are; those of a large program take some 20 MB.
const MIN_TABLES: usize = 64 << 20;
/// Bytes of line tables that are never exceeded: further code objects have no lines. One
/// stack may have half a million, each with a table of 32 MiB.
const MAX_TABLES: usize = 128 << 20;

/// 3.10 goes to the line of a dict and back for each of its keys, in steps of 127
/// lines at most, so that its tables grow with the square of a literal's lines:
/// 6 MB for one of 20,000.
const MAX_LINE_TABLE: usize = 64 << 20;

/// How much is kept, and at how much what is not used any more is dropped: a program may
/// go on making code for as long as it runs.
#[derive(Debug)]
pub(super) struct Kept {
    entries_at_most: usize,
    tables_at_most: usize,
    /// Bytes of line tables.
    tables: usize,
    /// How long a line table may be to be read, in bytes as the target has it.
    longest: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            entries_at_most: MIN_ENTRIES,
            tables_at_most: MIN_TABLES,
            tables: 0,
            longest: MAX_LINE_TABLE,
        }
    }
}

impl Kept {
    /// How long a line table may be to be read, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether these lines, of a table of so many bytes, can be kept. Where they cannot,
    /// only shorter ones are read from then on: what reads half a million tables in vain
    /// takes minutes.
    pub(super) fn has_room(&mut self, lines: &LineTable, len: usize) -> bool {
        let has_room = self.tables.saturating_add(lines.weight()) <= MAX_TABLES;
        if !has_room {
            self.longest = self.longest.min(len / 2);
            // What is not used any more may make room.
            self.tables_at_most = self.tables;
        }
        has_room
    }

    pub(super) fn add(&mut self, lines: &LineTable) {
        self.tables = self.tables.saturating_add(lines.weight());
    }

    pub(super) fn remove(&mut self, lines: &LineTable) {
        self.tables = self.tables.saturating_sub(lines.weight());
    }

    fn is_full(&self, entries: usize) -> bool {
        entries >= self.entries_at_most || self.tables >= self.tables_at_most
    }

    fn allow_twice(&mut self, entries: usize) {
        self.longest = MAX_LINE_TABLE;
        self.entries_at_most = MIN_ENTRIES.max(2 * entries);
        self.tables_at_most = (2 * self.tables).clamp(MIN_TABLES, MAX_TABLES);
    }
}

impl CodeCache {
    /// When there is twice as much as was in use the last time, drops what no stack has
    /// had since, and no stack has now.
    pub(super) fn drop_unused(&mut self) {
        if !self.kept.is_full(self.entries.len()) {
            return;
        }
        self.kept.tables = 0;
        self.entries.retain(|_, entry| {
            let is_used = std::mem::take(&mut entry.is_used) || Arc::strong_count(&entry.code) > 1;
            if is_used {
                self.kept.add(&entry.code.lines);
            }
            is_used
        });
        self.texts.retain(|text, ()| Arc::strong_count(text) > 1);
        self.kept.allow_twice(self.entries.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use firefinch_memory::RemoteAddr;

    use super::*;
    use crate::code::CodeObject;
    use crate::code::cache::Entry;
    use crate::code::resolved::Proof;
    use crate::layout::{Build, Layout, Version};
    use crate::runtime::Runtime;

    /// A program that goes on making functions: what nobody runs any more is dropped
    /// with its names, what a stack has or has had of late is kept.
    #[test]
    fn what_nobody_runs_is_dropped() {
        let version = Version::released(3, 10, 0);
        let layout = Layout::of(version, Build::Release).unwrap();
        let mut cache = CodeCache::new(&Runtime::for_tests(version, layout)).unwrap();
        let proof = Proof {
            codes: None,
            at: Instant::now(),
        };
        let add = |cache: &mut CodeCache, number: usize| {
            let name: Arc<str> = format!("made_{number}").into();
            cache.texts.insert(Arc::clone(&name), ());
            let code = Arc::new(CodeObject {
                name: Arc::clone(&name),
                qualified_name: None,
                filename: name,
                first_line: 1,
                lines: LineTable::default(),
            });
            let entry = Entry {
                fingerprint: [].into(),
                proof,
                code: Arc::clone(&code),
                len: 0,
                copies: Vec::new(),
                is_used: true,
            };
            cache.entries.insert(RemoteAddr::new(number as u64), entry);
            code
        };
        let shown = add(&mut cache, 0);
        add(&mut cache, 1);
        let mut most = 0;
        for number in 2..20 * MIN_ENTRIES {
            add(&mut cache, number);
            let often_run = cache.entries.get_mut(&RemoteAddr::new(1)).unwrap();
            often_run.is_used = true;
            cache.drop_unused();
            most = most.max(cache.entries.len());
        }
        assert!(most <= 4 * MIN_ENTRIES, "{most}");
        assert_eq!(cache.texts.len(), cache.entries.len());
        assert!(cache.texts.contains_key(&shown.name));
    }
}
