use super::{LineRange, MAX_RANGES, step, valid};

/// Decodes 3.10's `co_linetable`: pairs of (bytecode length, signed line
/// step); a step of −128 means "no line" (`Objects/lnotab_notes.txt` in 3.10).
pub(super) fn decode(table: &[u8], first_line: u32) -> Vec<LineRange> {
    // Most entries of a long table only step through lines and have no length.
    let mut ranges: Vec<LineRange> = Vec::new();
    let mut start = 0_u32;
    let mut line = i64::from(first_line);
    for pair in table.chunks_exact(2) {
        let end = start.saturating_add(u32::from(pair[0]));
        let delta = pair[1].cast_signed();
        let shown = if delta == i8::MIN {
            None
        } else {
            line = step(line, i64::from(delta));
            valid(line)
        };
        if end > start {
            if ranges.len() >= MAX_RANGES {
                break;
            }
            ranges.push(LineRange {
                start,
                end,
                line: shown,
            });
        }
        start = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::super::{LineEncoding, LineTable};

    /// An entry without a line does not move the line; the end is closed.
    #[test]
    fn entries_without_a_line() {
        let table = [6, 1, 2, 0x80, 50, 2];
        let lines = LineTable::decode(LineEncoding::Table310, &table, 1);
        assert_eq!(lines.line_at(0), Some(2));
        assert_eq!(lines.line_at(6), None);
        assert_eq!(lines.line_at(8), Some(4));
        assert_eq!(lines.line_at(58), None);
    }
}
