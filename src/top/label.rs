use unicode_width::UnicodeWidthChar;

/// What stands for what was left out.
const ELLIPSIS: char = '…';

/// `name (place)`, in at most so many columns. A place keeps its end, which has
/// the line, and a name its beginning.
pub(super) fn label(name: &str, place: &str, columns: usize) -> String {
    /// Below this a place leaves no room for a name.
    const ENOUGH: usize = 16;
    let brackets = " ()".len();
    let (name_width, place_width) = (width(name), width(place));
    if place.is_empty() || columns < ENOUGH {
        return beginning(name, columns);
    }
    let room = columns - brackets;
    let for_place = place_width.min(room.saturating_sub(name_width).max(room / 2));
    let place = ending(place, for_place);
    let name = beginning(name, room - width(&place));
    format!("{name} ({place})")
}

/// As much of the beginning as fits.
pub(super) fn beginning(text: &str, columns: usize) -> String {
    cut(text.chars(), columns).map_or_else(
        || text.to_owned(),
        |mut kept| {
            kept.extend((columns > 0).then_some(ELLIPSIS));
            kept.into_iter().collect()
        },
    )
}

/// As much of the end as fits.
fn ending(text: &str, columns: usize) -> String {
    cut(text.chars().rev(), columns).map_or_else(
        || text.to_owned(),
        |mut kept| {
            kept.extend((columns > 0).then_some(ELLIPSIS));
            kept.into_iter().rev().collect()
        },
    )
}

/// The characters that fit, with room for an ellipsis; `None` if all do. Marks
/// take no columns, so there is a limit to characters, too.
fn cut(chars: impl Iterator<Item = char>, columns: usize) -> Option<Vec<char>> {
    let mut kept = Vec::new();
    let mut used = 0;
    let mut fitting = 0;
    for c in chars {
        used += c.width().unwrap_or(0);
        if used > columns || kept.len() >= columns.saturating_mul(4) {
            kept.truncate(fitting);
            return Some(kept);
        }
        kept.push(c);
        if used < columns {
            fitting = kept.len();
        }
    }
    None
}

/// How many columns a text takes.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fits stays as it is; else a place loses its beginning down to half of
    /// the room, then a name its end.
    #[test]
    fn names_and_places() {
        let label = |columns| label("Reader.parse_line", "shop/orders/reader.py:12", columns);
        assert_eq!(label(44), "Reader.parse_line (shop/orders/reader.py:12)");
        assert_eq!(label(43), "Reader.parse_line (…op/orders/reader.py:12)");
        assert_eq!(label(34), "Reader.parse_li… (…s/reader.py:12)");
        assert_eq!(label(15), "Reader.parse_l…");
        assert_eq!(label(1), "…");
        assert_eq!(label(0), "");
        assert_eq!(super::label("inflate", "", 20), "inflate");
        for columns in 0..60 {
            assert!(width(&label(columns)) <= columns, "{columns}");
        }
    }

    /// Wide characters count twice, marks not at all, but not without limit.
    #[test]
    fn widths() {
        assert_eq!(beginning("関数の名前", 10), "関数の名前");
        assert_eq!(beginning("関数の名前", 9), "関数の名…");
        assert_eq!(beginning("関数の名前", 8), "関数の…");
        let marked: String = "e\u{301}".repeat(8);
        assert_eq!(beginning(&marked, 8), marked);
        let marks = "e".to_owned() + &"\u{301}".repeat(5_000);
        assert!(beginning(&marks, 8).chars().count() <= 33);
    }
}
