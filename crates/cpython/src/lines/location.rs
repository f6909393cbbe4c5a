use super::{LineRange, MAX_RANGES, step, valid};

/// Bytes of a code unit (`_Py_CODEUNIT`).
const CODE_UNIT: u32 = 2;

/// Decodes the location table of 3.11 and later: entries whose first byte has
/// the high bit set, a kind in bits 3–6 and a length in code units less one in
/// bits 0–2 (`Objects/locations.md`, `InternalDocs/code_objects.md`).
/// Columns are stepped over.
pub(super) fn decode(table: &[u8], first_line: u32) -> Vec<LineRange> {
    let mut ranges: Vec<LineRange> = Vec::with_capacity((table.len() / 3).min(MAX_RANGES));
    let mut bytes = table.iter().copied();
    let mut line = i64::from(first_line);
    let mut start = 0_u32;
    while let Some(first) = bytes.next() {
        let length = (u32::from(first & 7) + 1) * CODE_UNIT;
        let shown = match (first >> 3) & 0xf {
            15 => None,
            14 => {
                line = step(line, signed_varint(&mut bytes));
                // end line step, column, end column
                for _ in 0..3 {
                    varint(&mut bytes);
                }
                valid(line)
            }
            13 => {
                line = step(line, signed_varint(&mut bytes));
                valid(line)
            }
            kind @ 10..=12 => {
                line = step(line, i64::from(kind) - 10);
                bytes.next();
                bytes.next();
                valid(line)
            }
            _ => {
                bytes.next();
                valid(line)
            }
        };
        let end = start.saturating_add(length);
        let is_full = ranges.len() >= MAX_RANGES;
        match ranges.last_mut() {
            Some(last) if last.line == shown && last.end == start => last.end = end,
            _ if is_full => break,
            _ => ranges.push(LineRange {
                start,
                end,
                line: shown,
            }),
        }
        start = end;
    }
    ranges
}

/// Six bits a byte, low ones first; bit 6 says that more follow.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> u64 {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    for byte in bytes.by_ref() {
        value |= u64::from(byte & 0x3f).checked_shl(shift).unwrap_or(0);
        shift = shift.saturating_add(6);
        if byte & 0x40 == 0 {
            break;
        }
    }
    value
}

/// A varint whose lowest bit is the sign.
fn signed_varint(bytes: &mut impl Iterator<Item = u8>) -> i64 {
    let value = varint(bytes);
    let magnitude = i64::try_from(value >> 1).unwrap_or(i64::MAX);
    if value & 1 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LineEncoding, LineTable};

    /// Each kind of entry, with lines and lengths as the format's page defines them.
    #[test]
    fn every_kind_of_entry() {
        let table = [
            0x80 | 13 << 3, // no columns, 1 unit
            0b10,           // +1
            0x80 | 2,       // short form, 3 units, same line
            0x00,
            0x80 | 12 << 3 | 1, // one-line form, +2, 2 units
            1,
            2,
            0x80 | 15 << 3, // no line
            0x80 | 14 << 3, // long form
            0b0100_0001,    // more: low 6 bits 000001
            0b0000_0001,    // 64 | 1 -> −32
            0,
            1,
            2,
        ];
        let lines = LineTable::decode(LineEncoding::Location, &table, 100);
        assert_eq!(lines.line_at(0), Some(101));
        assert_eq!(lines.line_at(6), Some(101));
        assert_eq!(lines.line_at(8), Some(103));
        assert_eq!(lines.line_at(12), None);
        assert_eq!(lines.line_at(14), Some(71));
        assert_eq!(lines.line_at(16), None);
        assert_eq!(lines.code_len(), 16);
    }

    /// Garbage never panics, loops or yields more ranges than bytes.
    #[test]
    fn garbage_is_bounded() {
        let mut state = 1_u32;
        for len in 0..500 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            for encoding in [
                LineEncoding::Location,
                LineEncoding::Table310,
                LineEncoding::Lnotab,
                LineEncoding::LnotabUnsigned,
            ] {
                let table = LineTable::decode(encoding, &bytes, u32::MAX);
                assert!(table.ranges.len() <= len + 1);
            }
        }
    }
}
