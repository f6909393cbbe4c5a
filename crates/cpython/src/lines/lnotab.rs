use super::{LineRange, MAX_RANGES, step, valid};

/// Decodes `co_lnotab`: pairs of (bytecode step, line step), each one byte
/// (`Objects/lnotab_notes.txt`; line steps are signed from 3.6 on).
pub(super) fn decode(table: &[u8], first_line: u32, signed: bool) -> Vec<LineRange> {
    let mut ranges = Vec::new();
    let mut start = 0_u32;
    let mut end = 0_u32;
    let mut line = i64::from(first_line);
    for pair in table.chunks_exact(2) {
        let (code, delta) = (pair[0], pair[1]);
        end = end.saturating_add(u32::from(code));
        if code != 0 && end > start {
            if ranges.len() >= MAX_RANGES {
                return ranges;
            }
            let line = valid(line);
            ranges.push(LineRange { start, end, line });
            start = end;
        }
        let delta = if signed {
            i64::from(delta.cast_signed())
        } else {
            i64::from(delta)
        };
        line = step(line, delta);
    }
    ranges.push(LineRange {
        start,
        end: u32::MAX,
        line: valid(line),
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::super::{LineEncoding, LineTable};

    /// Lines as CPython 3.8's own `dis.findlinestarts` gives them, with a step
    /// over 255 bytes, one over 127 lines and one backwards.
    #[test]
    fn long_and_backward_steps() {
        let table = [0, 1, 10, 127, 0, 73, 255, 0, 45, 0xfd];
        let lines = LineTable::decode(LineEncoding::Lnotab, &table, 10);
        assert_eq!(lines.line_at(0), Some(11));
        assert_eq!(lines.line_at(9), Some(11));
        assert_eq!(lines.line_at(10), Some(211));
        assert_eq!(lines.line_at(309), Some(211));
        assert_eq!(lines.line_at(310), Some(208));
        let lines = LineTable::decode(LineEncoding::LnotabUnsigned, &[4, 200], 1);
        assert_eq!(lines.line_at(4), Some(201));
    }
}
