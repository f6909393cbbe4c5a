//! A flame graph as its reader sees it, taken from the SVG with an XML parser.

use std::fmt::Write;

use roxmltree::{Document, Node, ParsingOptions};

/// One rectangle.
#[derive(Debug)]
pub(crate) struct Block {
    /// Levels below the outermost, which is 0.
    pub(crate) depth: u32,
    /// Where it begins and how wide it is, in samples.
    pub(crate) start: u64,
    pub(crate) width: u64,
    /// Its drawn width in per cent of the picture.
    pub(crate) percent: f64,
    /// `rgb(…)`
    pub(crate) color: String,
    /// What is shown when the pointer rests on it.
    pub(crate) hover: String,
}

impl Block {
    /// The label without the share behind it.
    pub(crate) fn label(&self) -> &str {
        self.hover.rsplit_once(" (").map_or(&self.hover, |(l, _)| l)
    }
}

/// What a picture shows.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) height: u32,
    /// Text elements outside of the frames by their id.
    pub(crate) texts: Vec<(String, String)>,
    /// The title of the document.
    pub(crate) title: String,
    /// Outermost first, from left to right in each row.
    pub(crate) blocks: Vec<Block>,
}

impl Picture {
    /// Reads a picture; fails if the XML is not well-formed.
    pub(crate) fn read(svg: &str) -> Self {
        let options = ParsingOptions {
            allow_dtd: true,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(svg, options).unwrap();
        let root = document.root_element();
        let texts = root.children().filter(|n| n.has_tag_name("text"));
        let frames = root
            .children()
            .find(|n| n.attribute("id") == Some("frames"));
        let mut blocks: Vec<Block> = frames
            .iter()
            .flat_map(|f| f.children().filter(Node::is_element))
            .map(block)
            .collect();
        let top = blocks.iter().map(|b| b.depth).min().unwrap_or(0);
        for block in &mut blocks {
            block.depth = (block.depth - top) / 16;
        }
        blocks.sort_by_key(|b| (b.depth, b.start));
        Self {
            height: root.attribute("height").unwrap().parse().unwrap(),
            texts: texts
                .map(|t| (t.attribute("id").unwrap_or("").to_owned(), all_text(t)))
                .collect(),
            title: child(root, "title").text().unwrap().to_owned(),
            blocks,
        }
    }

    /// The text with this id.
    pub(crate) fn text(&self, id: &str) -> &str {
        let found = self.texts.iter().find(|(known, _)| known == id);
        &found.unwrap_or_else(|| panic!("no text {id:?}")).1
    }

    /// The block with this label, the only one.
    pub(crate) fn block(&self, label: &str) -> &Block {
        let mut found = self.blocks.iter().filter(|b| b.label() == label);
        let block = found.next().unwrap_or_else(|| panic!("no block {label:?}"));
        assert!(found.next().is_none(), "more than one block {label:?}");
        block
    }

    /// The picture as indented lines, for people to compare.
    pub(crate) fn outline(&self) -> String {
        let mut out = format!("height {}\n", self.height);
        for (id, text) in self.texts.iter().filter(|(_, t)| !t.trim().is_empty()) {
            writeln!(out, "{id}: {}", text.trim().replace('\u{a0}', " ")).unwrap();
        }
        // A block stands under the last one of the row above that begins
        // before it: in this order that is tree order.
        let mut blocks: Vec<&Block> = self.blocks.iter().collect();
        blocks.sort_by_key(|b| (b.start, b.depth));
        for b in blocks {
            // Deep stacks would be all indentation.
            let indent = "  ".repeat(b.depth.min(12) as usize);
            let Block { depth, start, .. } = b;
            writeln!(out, "{depth:3} {indent}{start} {} {}", b.color, b.hover).unwrap();
        }
        out
    }
}

fn block(group: Node<'_, '_>) -> Block {
    let rect = child(group, "rect");
    let own = |name: &str| {
        let found = rect
            .attributes()
            .find(|a| a.namespace().is_some() && a.name() == name);
        found.unwrap().value().parse().unwrap()
    };
    let plain = |name: &str| rect.attribute(name).unwrap();
    Block {
        depth: plain("y").parse().unwrap(),
        start: own("x"),
        width: own("w"),
        percent: plain("width").trim_end_matches('%').parse().unwrap(),
        color: plain("fill").to_owned(),
        hover: child(group, "title").text().unwrap().to_owned(),
    }
}

fn child<'a, 'b>(node: Node<'a, 'b>, tag: &str) -> Node<'a, 'b> {
    node.children().find(|n| n.has_tag_name(tag)).unwrap()
}

fn all_text(node: Node<'_, '_>) -> String {
    node.descendants()
        .filter(Node::is_text)
        .filter_map(|n| n.text())
        .collect()
}
