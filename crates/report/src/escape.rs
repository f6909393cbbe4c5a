use std::borrow::Cow;
use std::fmt::Write;

/// A label in which nothing can be taken for anything else.
///
/// Escaped are, besides the backslash itself:
/// - `;`, which separates frames, and every kind of line end;
/// - control characters and noncharacters, which XML 1.0 does not allow, and
///   those that change the direction of writing, which make text look like
///   other text;
/// - a space at either end, and one before a last word of digits, which
///   readers of collapsed stacks would trim or take for a count;
/// - a leading `# `, which they would take for a comment, and a trailing `]`
///   of the annotations `_[k]`, `_[w]`, `_[i]`, `_[j]`, which they would drop.
///
/// An empty label becomes `<unnamed>`.
pub(crate) fn escape(label: &str) -> Cow<'_, str> {
    if label.is_empty() {
        return Cow::Borrowed("<unnamed>");
    }
    let tail = tail_to_escape(label);
    let is_edge = |at: usize, c: char| {
        Some(at) == tail || at == 0 && (c == ' ' || c == '#' && label.starts_with("# "))
    };
    let mut clean = label.char_indices();
    if clean.all(|(at, c)| !is_special(c) && !is_edge(at, c)) {
        return Cow::Borrowed(label);
    }
    let mut text = String::with_capacity(label.len() + 8);
    for (at, c) in label.char_indices() {
        if is_special(c) || is_edge(at, c) {
            push_escaped(&mut text, c);
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// Where the character stands that makes the label's end ambiguous.
fn tail_to_escape(label: &str) -> Option<usize> {
    if label.ends_with(' ') {
        return Some(label.len() - 1);
    }
    if ["_[k]", "_[w]", "_[i]", "_[j]"]
        .iter()
        .any(|a| label.ends_with(a))
    {
        return Some(label.len() - 1);
    }
    let space = label.rfind(' ')?;
    let number = label[space + 1..]
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'.');
    number.then_some(space)
}

fn is_special(c: char) -> bool {
    matches!(c, '\\' | ';') || misleads(c)
}

/// Whether a character is no part of a text for people: a control character, a line end, a
/// noncharacter, or one that changes the direction of writing, so that text looks like other
/// text.
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fdd0}'..='\u{fdef}')
        || matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff)
}

fn push_escaped(text: &mut String, c: char) {
    match c {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        _ => {
            let code = u32::from(c);
            let written = if code < 0x100 {
                write!(text, "\\x{code:02x}")
            } else {
                write!(text, "\\u{{{code:x}}}")
            };
            written.expect("a String takes all that is written to it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The inverse of `escape`, as the crate's documentation promises it exists.
    fn unescape(text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                out.push(c);
                continue;
            }
            let code: String = match chars.next().unwrap() {
                'n' => "a".into(),
                'r' => "d".into(),
                't' => "9".into(),
                '\\' => "5c".into(),
                'x' => chars.by_ref().take(2).collect(),
                'u' => chars.by_ref().skip(1).take_while(|c| *c != '}').collect(),
                other => panic!("unknown escape {other:?}"),
            };
            out.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
        }
        out
    }

    /// Ordinary labels pass unchanged; every hazard is written out.
    #[test]
    fn hazards_are_escaped() {
        let same = [
            "main (app.py:12)",
            "größe (ü.py:3)",
            "f (a b.py)",
            "<lambda>",
            "x#1",
        ];
        for label in same {
            assert_eq!(escape(label), label);
        }
        let escaped = [
            ("", "<unnamed>"),
            ("a;b", r"a\x3bb"),
            ("a\nb\r\t", r"a\nb\r\t"),
            ("a\\n", r"a\\n"),
            ("\u{1b}[31m", r"\x1b[31m"),
            ("\u{85}", r"\x85"),
            ("\u{202e}", r"\u{202e}"),
            ("\u{ffff}", r"\u{ffff}"),
            (" a ", r"\x20a\x20"),
            ("step 12", r"step\x2012"),
            ("# note", r"\x23 note"),
            ("f_[k]", r"f_[k\x5d"),
        ];
        for (label, expected) in escaped {
            assert_eq!(escape(label), expected);
        }
    }

    proptest! {
        /// Whatever the name, it can be had back, and holds no separator,
        /// no line end and nothing that XML forbids.
        #[test]
        fn escaping_is_reversible(label in "\\PC*|(.|[;\\\\ \n#0-9\u{0}\u{ffff}])+") {
            prop_assume!(!label.is_empty());
            let text = escape(&label);
            prop_assert_eq!(unescape(&text), label.clone());
            prop_assert!(!text.contains([';', '\n', '\r']), "{}", text);
            prop_assert!(text.chars().all(|c| !c.is_control()), "{}", text);
            prop_assert_eq!(text.trim_matches(' '), &*text);
        }
    }
}
