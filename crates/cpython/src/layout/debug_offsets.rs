use std::fmt;

use firefinch_memory::Bytes;

use super::table::{DEBUG_OFFSETS, Field};
use super::{Build, Layout, ReleaseLevel, Version};

/// What opens `_PyRuntime` from 3.13 on (`_Py_DebugOffsets`,
/// `Include/internal/pycore_runtime.h` in 3.13, `pycore_debug_offsets.h` later).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugOffsetsHeader {
    /// The interpreter's version.
    pub version: Version,
    /// Whether it was built with `--disable-gil`.
    pub free_threaded: bool,
}

/// Why a target's `_Py_DebugOffsets` is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugOffsetsError {
    /// A minor version this build of firefinch has no table for.
    UnknownVersion(Version),
    /// A pre-release: the list of offsets still changes, and says no lengths.
    PreRelease(Version),
    /// An offset beyond where any build has that member.
    Implausible(Field, u64),
    /// The copy is shorter than the version's struct.
    Short,
}

impl fmt::Display for DebugOffsetsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(v) => write!(f, "no layout for Python {v}"),
            Self::PreRelease(v) => write!(f, "Python {v} is a pre-release"),
            Self::Implausible(field, value) => {
                write!(f, "debug offset {field:?} is {value:#x}")
            }
            Self::Short => f.write_str("debug offsets end early"),
        }
    }
}

impl std::error::Error for DebugOffsetsError {}

impl DebugOffsetsHeader {
    /// The bytes that open the struct.
    pub const COOKIE: &'static [u8; 8] = b"xdebugpy";
    /// Cookie, version and the free-threaded flag.
    pub const SIZE: usize = 24;

    /// Decodes the first [`Self::SIZE`] bytes; `None` without the cookie.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = Bytes(bytes);
        if bytes.slice(0, 8)? != Self::COOKIE {
            return None;
        }
        let version = Version::from_hex(u32::try_from(bytes.u64(8)?).ok()?)?;
        let free_threaded = match bytes.u64(16)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self {
            version,
            free_threaded,
        })
    }

    /// The size in bytes of this version's `_Py_DebugOffsets`.
    ///
    /// # Errors
    /// A version without a table.
    pub fn table_size(&self) -> Result<usize, DebugOffsetsError> {
        self.row().map(|row| row.size as usize)
    }

    fn row(&self) -> Result<&'static super::DebugOffsetsRow, DebugOffsetsError> {
        let wanted = (self.version.major, self.version.minor);
        DEBUG_OFFSETS
            .iter()
            .find(|row| row.version == wanted)
            .ok_or(DebugOffsetsError::UnknownVersion(self.version))
    }
}

/// Above where any build has a member that the release build has at `usual`: options
/// insert members here and there, or make some larger. Nothing that is sized by it can be
/// of any size: a code object is compared up to its last member.
fn max_offset(usual: usize) -> u64 {
    1024 + 4 * usual as u64
}

impl Layout {
    /// The layout that a target's own offsets describe: the generated row for
    /// its version, overruled by every offset in `bytes`, which starts at the
    /// cookie.
    ///
    /// # Errors
    /// [`DebugOffsetsError`]; the caller may fall back on the row alone only
    /// for a final release.
    pub fn with_debug_offsets(
        header: DebugOffsetsHeader,
        debug: bool,
        bytes: &[u8],
    ) -> Result<Self, DebugOffsetsError> {
        let build = match (header.free_threaded, debug) {
            (false, false) => Build::Release,
            (false, true) => Build::Debug,
            (true, false) => Build::FreeThreaded,
            (true, true) => Build::FreeThreadedDebug,
        };
        let row = header.row()?;
        let mut layout = Self::of(header.version, build)
            .ok_or(DebugOffsetsError::UnknownVersion(header.version))?;
        // The list has no group lengths: before the final release its meaning is
        // known only for the very pre-release whose headers made the row.
        if header.version.level != ReleaseLevel::Final
            && layout.headers != header.version.to_string()
        {
            return Err(DebugOffsetsError::PreRelease(header.version));
        }
        let bytes = Bytes(bytes);
        for (field, position) in row.values {
            // The struct has a place (holding 0) for fields this build lacks.
            let Some(usual) = layout.get(*field) else {
                continue;
            };
            let value = bytes
                .u64(*position as usize)
                .ok_or(DebugOffsetsError::Short)?;
            let implausible = DebugOffsetsError::Implausible(*field, value);
            let value = u32::try_from(value).map_err(|_| implausible)?;
            if u64::from(value) > max_offset(usual) {
                return Err(implausible);
            }
            layout.set(*field, value);
        }
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each offset is taken over where it is plausible, and refused where it is beyond
    /// the struct that it is of.
    #[test]
    fn offsets_beyond_their_struct() {
        for row in DEBUG_OFFSETS {
            let version = Version::released(row.version.0, row.version.1, 0);
            let header = DebugOffsetsHeader {
                version,
                free_threaded: false,
            };
            let usual = Layout::of(version, Build::Release).unwrap();
            let mut bytes = vec![0; row.size as usize];
            for (field, at) in row.values {
                let value = usual.get(*field).unwrap_or(0) as u64;
                bytes[*at as usize..][..8].copy_from_slice(&value.to_le_bytes());
            }
            let layout = Layout::with_debug_offsets(header, false, &bytes).unwrap();
            for (field, at) in row.values {
                let Some(value) = usual.get(*field) else {
                    continue;
                };
                assert_eq!(layout.get(*field), Some(value));
                let mut other = bytes.clone();
                for (odd, is_taken) in [
                    (value as u64 + 16, true),
                    (0x3f_fff8, value > 0xf_0000),
                    (u64::MAX, false),
                ] {
                    other[*at as usize..][..8].copy_from_slice(&odd.to_le_bytes());
                    let taken = Layout::with_debug_offsets(header, false, &other).is_ok();
                    assert_eq!(taken, is_taken, "{field:?} {value} {odd}");
                }
            }
        }
    }
}
