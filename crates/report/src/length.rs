use std::borrow::Cow;

use crate::tree::Tree;

/// Where all lines together would be longer than is reasonable, labels are cut to so many
/// characters, as far as need be. No label that a person wrote is longer than the first.
pub(crate) const LENGTHS: [usize; 2] = [1000, 100];

/// At most so many characters of a text: its beginning, and of its end, where the file
/// and the line stand, a third.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= most {
        return Cow::Borrowed(text);
    }
    let tail = most / 3;
    let head = most.saturating_sub(tail + 1);
    let begin: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    Cow::Owned(format!("{begin}…{end}"))
}

impl Tree {
    /// Bytes of the lines of all nodes that have a count.
    pub(crate) fn len_of_lines(&self, counts: &[u64]) -> u64 {
        let mut lens: Vec<u64> = Vec::with_capacity(self.nodes.len());
        let mut total = 0_u64;
        for (node, count) in self.nodes.iter().zip(counts) {
            let above = node.parent.map_or(0, |parent| lens[parent] + 1);
            let len = above.saturating_add(self.labels[node.label].text.len() as u64);
            lens.push(len);
            total = total.saturating_add(if *count > 0 { len } else { 0 });
        }
        total
    }

    /// Cuts labels that are longer than so many characters.
    pub(crate) fn shorten(&mut self, most: usize) {
        for label in &mut self.labels {
            if let Cow::Owned(short) = cut(&label.text, most) {
                label.text = short;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text is cut in its middle to the characters that there may be, whatever they are.
    #[test]
    fn the_middle_goes() {
        assert_eq!(cut("main (app.py:12)", 16), "main (app.py:12)");
        assert_eq!(cut("main (app.py:12)", 12), "main (a…:12)");
        assert_eq!(cut("ääääääääää", 4), "ää…ä");
        assert_eq!(cut("abc", 1), "…");
    }
}
