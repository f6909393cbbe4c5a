//! Line tables: from a position in the bytecode to a source line.
//!
//! Three encodings, one decoded form. Every decoder is bounded by the table's
//! own length and does checked arithmetic: the bytes come from the target.

mod lnotab;
mod location;
mod table310;

use crate::layout::Layout;

/// A decoded line table: ranges of bytecode offsets, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineTable {
    ranges: Vec<LineRange>,
}

/// One run of bytecode that belongs to one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LineRange {
    /// First bytecode offset, in bytes.
    start: u32,
    /// The offset behind the last one, in bytes.
    end: u32,
    /// The line, or `None` for instructions without one.
    line: Option<u32>,
}

/// How a version encodes its line table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEncoding {
    /// `co_lnotab` with unsigned line steps: to 3.5 (`Objects/lnotab_notes.txt`).
    LnotabUnsigned,
    /// `co_lnotab` with signed line steps: 3.6 to 3.9.
    Lnotab,
    /// `co_linetable` of 3.10.
    Table310,
    /// The location table from 3.11 on (`Objects/locations.md`).
    Location,
}

/// Ranges kept of one table, 16 bytes each; what follows has no line. A function
/// has no more instructions than some hundred thousand.
const MAX_RANGES: usize = 1 << 21;

/// Since when each encoding is in use, newest first.
const SINCE: [((u8, u8), LineEncoding); 4] = [
    ((3, 11), LineEncoding::Location),
    ((3, 10), LineEncoding::Table310),
    ((3, 6), LineEncoding::Lnotab),
    ((0, 0), LineEncoding::LnotabUnsigned),
];

impl LineEncoding {
    pub(crate) fn of(layout: &Layout) -> Self {
        let since = SINCE.iter().find(|(since, _)| *since <= layout.version());
        since.map_or(Self::Location, |(_, encoding)| *encoding)
    }

    /// Bytes that one unit of a heap frame's `f_lasti` stands for: 3.10 counts
    /// code units (`Objects/frameobject.c`), its forerunners bytes.
    pub(crate) fn frame_unit(self) -> i32 {
        match self {
            Self::Lnotab | Self::LnotabUnsigned => 1,
            Self::Table310 | Self::Location => 2,
        }
    }
}

impl LineTable {
    pub(crate) fn decode(encoding: LineEncoding, table: &[u8], first_line: u32) -> Self {
        let ranges = match encoding {
            LineEncoding::LnotabUnsigned => lnotab::decode(table, first_line, false),
            LineEncoding::Lnotab => lnotab::decode(table, first_line, true),
            LineEncoding::Table310 => table310::decode(table, first_line),
            LineEncoding::Location => location::decode(table, first_line),
        };
        Self { ranges }
    }

    /// Bytes that it takes.
    pub(crate) fn weight(&self) -> usize {
        self.ranges.capacity() * size_of::<LineRange>()
    }

    /// The line of the instruction at `offset` bytes into the bytecode.
    pub fn line_at(&self, offset: u32) -> Option<u32> {
        let behind = self.ranges.partition_point(|r| r.start <= offset);
        let range = self.ranges.get(behind.checked_sub(1)?)?;
        if offset < range.end { range.line } else { None }
    }

    /// The length in bytes of the bytecode the table describes; the encodings
    /// to 3.10 leave the last range open and give `u32::MAX`.
    pub fn code_len(&self) -> u32 {
        self.ranges.last().map_or(0, |r| r.end)
    }
}

/// `line + delta`, where the result is a possible line.
fn step(line: i64, delta: i64) -> i64 {
    // Hostile tables can add up to anything; saturating keeps them harmless.
    line.saturating_add(delta)
}

/// A line number as CPython reports it: positive, and within 32 bits.
fn valid(line: i64) -> Option<u32> {
    u32::try_from(line).ok().filter(|l| *l > 0)
}
