//! Where each field lives, per CPython minor version and kind of build.
//!
//! The numbers are data: `scripts/layouts` generates [`table`] from each
//! version's own headers. From 3.13 on the target carries `_Py_DebugOffsets`
//! (`Include/internal/pycore_debug_offsets.h`), which wins over the table where
//! it speaks: see [`Layout::with_debug_offsets`].

mod debug_offsets;
mod table;
mod version;

use std::fmt;

pub use debug_offsets::DebugOffsetsError;
pub(crate) use debug_offsets::DebugOffsetsHeader;
pub use table::Field;
pub use version::{ReleaseLevel, Version};

/// How an interpreter was compiled, as far as it moves fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Build {
    /// The usual build.
    Release,
    /// `--with-pydebug`.
    Debug,
    /// `--disable-gil`.
    FreeThreaded,
    /// `--disable-gil --with-pydebug`.
    FreeThreadedDebug,
}

impl Build {
    /// All kinds, likeliest first.
    pub const ALL: [Self; 4] = [
        Self::Release,
        Self::FreeThreaded,
        Self::Debug,
        Self::FreeThreadedDebug,
    ];

    /// Whether the build has no global lock.
    pub fn is_free_threaded(self) -> bool {
        matches!(self, Self::FreeThreaded | Self::FreeThreadedDebug)
    }

    /// Whether `Py_DEBUG` was defined.
    pub fn is_debug(self) -> bool {
        matches!(self, Self::Debug | Self::FreeThreadedDebug)
    }
}

/// One generated row: the fields that exist in one version and build.
#[derive(Debug)]
struct Row {
    version: (u8, u8),
    build: Build,
    /// The exact version of the headers the row was made from.
    headers: &'static str,
    values: &'static [(Field, u32)],
}

/// Where each value stands inside one minor version's `_Py_DebugOffsets`.
#[derive(Debug)]
struct DebugOffsetsRow {
    version: (u8, u8),
    size: u32,
    values: &'static [(Field, u32)],
}

/// A field that a decoder needs and this version's layout does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingField(pub Field);

impl fmt::Display for MissingField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no layout for {:?}", self.0)
    }
}

impl std::error::Error for MissingField {}

/// The layout of one interpreter: an offset, size or constant per [`Field`].
#[derive(Clone)]
pub struct Layout {
    version: (u8, u8),
    build: Build,
    headers: &'static str,
    values: [u32; table::FIELD_COUNT],
}

/// No field lies this far out; marks a field that does not exist.
const ABSENT: u32 = u32::MAX;

impl Layout {
    /// The generated row for a version and build, if there is one.
    ///
    /// Where a patch release moved something, a minor version has several
    /// rows: the oldest that is not older than the target counts, else the newest.
    pub fn of(version: Version, build: Build) -> Option<Self> {
        let rows = || {
            table::ROWS
                .iter()
                .filter(|row| row.version == (version.major, version.minor) && row.build == build)
        };
        let micro = |row: &&Row| row.headers.split('.').nth(2)?.parse::<u8>().ok();
        let row = rows()
            .filter(|row| micro(row).is_some_and(|micro| micro >= version.micro))
            .min_by_key(micro)
            .or_else(|| rows().max_by_key(micro))?;
        let mut values = [ABSENT; table::FIELD_COUNT];
        for (field, value) in row.values {
            values[*field as usize] = *value;
        }
        Some(Self {
            version: row.version,
            build,
            headers: row.headers,
            values,
        })
    }

    /// Every minor version there is a row for, oldest first.
    pub fn known_versions() -> Vec<(u8, u8)> {
        let mut versions: Vec<_> = table::ROWS.iter().map(|row| row.version).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// Major and minor version.
    pub fn version(&self) -> (u8, u8) {
        self.version
    }

    /// The kind of build.
    pub fn build(&self) -> Build {
        self.build
    }

    /// The field's offset, or `None` where this version has no such field.
    pub fn get(&self, field: Field) -> Option<usize> {
        let value = self.values[field as usize];
        (value != ABSENT).then_some(value as usize)
    }

    /// The field's offset.
    ///
    /// # Errors
    /// [`MissingField`] where this version has no such field.
    pub fn need(&self, field: Field) -> Result<usize, MissingField> {
        self.get(field).ok_or(MissingField(field))
    }

    /// Whether an evaluation loop keeps something on the machine stack that its thread
    /// leads to: in 3.10 `CFrame` (`Include/cpython/pystate.h`), later frames of its own.
    pub fn has_loops_on_stack(&self) -> bool {
        let fields = [Field::CframePrevious, Field::IframePrevious];
        fields.iter().any(|field| self.get(*field).is_some())
    }

    pub(crate) fn set(&mut self, field: Field, value: u32) {
        self.values[field as usize] = value;
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout")
            .field("version", &self.version)
            .field("build", &self.build)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(minor: u8, micro: u8) -> Version {
        Version::released(3, minor, micro)
    }

    /// 3.7.4 moved the GIL within the runtime: each patch release gets the row
    /// that was made for it, and one beyond the newest row gets the newest.
    #[test]
    fn the_row_follows_the_patch_release() {
        let current = |micro| {
            let layout = Layout::of(version(7, micro), Build::Release).unwrap();
            layout.get(Field::RuntimeTstateCurrent).unwrap()
        };
        assert_eq!(current(0), current(3));
        assert_ne!(current(3), current(4));
        assert_eq!(current(4), current(16));
        assert_eq!(current(99), current(16));
    }

    /// From 3.10 on loops say where on the machine stack they are.
    #[test]
    fn loops_on_the_stack() {
        let has = |minor| Layout::of(version(minor, 0), Build::Release).unwrap();
        for minor in 6..=15 {
            assert_eq!(has(minor).has_loops_on_stack(), minor >= 10, "3.{minor}");
        }
    }

    /// Every row has what the decoders need: a gap in the table is found here,
    /// not in front of a target.
    #[test]
    fn every_row_serves_the_decoders() {
        for row in table::ROWS {
            let (major, minor) = row.version;
            let version = Version {
                major,
                ..version(minor, 0)
            };
            let layout = Layout::of(version, row.build).unwrap();
            let runtime = crate::Runtime::for_tests(version, layout);
            crate::StackReader::new(&runtime).unwrap();
            crate::CodeCache::new(&runtime).unwrap();
        }
    }
}
