use std::borrow::Cow;
use std::io::{self, Write};

use firefinch_profile::Profile;
use inferno::flamegraph::color::{BackgroundColor, Color, PaletteMap};
use inferno::flamegraph::{self, Direction, Options, TextTruncateDirection};

use crate::collapsed::Lines;
use crate::color::typical;
use crate::elide::elide;
use crate::length::LENGTHS;
use crate::origin::Origin;
use crate::subtitle::subtitle;
use crate::tree::Tree;
use crate::{Style, escape, why_empty};

/// The longest title that fits beside the buttons on a narrow screen, in characters.
const TITLE_LENGTH: usize = 90;

/// Titles are prose and set as such; labels stay monospaced, since only then
/// the picture's script can measure them quickly.
const FONTS: &str = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

/// Frames narrower than this are not drawn, in per cent of the whole: a tenth
/// of a pixel.
const MIN_WIDTH: f64 = 0.01;

/// An interactive flame graph, callers above callees.
pub(crate) fn write(profile: &Profile, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let title = title(profile, style);
    let subtitle = subtitle(profile);
    if let Some(reason) = why_empty(profile) {
        return write_empty(&title, &subtitle, &reason, out);
    }
    let whole = Tree::of(profile, style);
    let mut tree = elide(&whole);
    let own = tree.own_ticks(profile.meta.interval_ns.get());
    let (counts, min_width) = fit(&mut tree, &own);
    let mut lines = Vec::new();
    let mut next = Lines::new(&tree, &counts);
    while let Some((stack, count)) = next.next_line() {
        let stack: Vec<&str> = stack.iter().map(|node| tree.text(*node)).collect();
        lines.push(format!("{} {count}", stack.join(";")));
    }
    let mut palette = PaletteMap::default();
    // The frame below all others; what has no entry gets a random colour.
    palette.insert("", typical(Origin::Label));
    for label in &tree.labels {
        palette.insert(&label.text, label.color);
    }

    let mut options = Options::default();
    options.min_width = min_width;
    options.title.clone_from(&title);
    options.subtitle = Some(subtitle);
    options.bgcolors = Some(BackgroundColor::Flat(Color::new(255, 255, 255)));
    // Light, since the label on it is black.
    if let Ok(color) = "#f08cff".parse() {
        options.search_color = color;
    }
    options.direction = Direction::Inverted;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.deterministic = true;
    options.palette_map = Some(&mut palette);
    // The name of this option says what it is usually for. What it does is to
    // take the lines as they come, the last one first, where otherwise they
    // are sorted as texts, which tears a frame apart whose label is the
    // beginning of its sibling's.
    options.flame_chart = true;
    let mut svg = Vec::new();
    let backwards = lines.iter().rev().map(String::as_str);
    flamegraph::from_lines(&mut options, backwards, &mut svg)?;
    let svg = String::from_utf8(svg).map_err(io::Error::other)?;
    out.write_all(dress(&svg, &title, &origins(&tree)).as_bytes())
}

/// Bytes of text that a picture is made of. All of it is held at once, several times
/// over; pictures of large programs take some 10 MiB.
const MAX_TEXT: u64 = 256 << 20;

/// Bytes that are written of a frame beside its label.
const FRAME: u64 = 250;

/// The counts of what is drawn, and the width in per cent of the whole from which on
/// something is: so that names of any length in stacks of any depth make a picture that
/// memory can hold, labels are cut and at last what is narrow left out.
fn fit(tree: &mut Cow<'_, Tree>, own: &[u64]) -> (Vec<u64>, f64) {
    let mut width = MIN_WIDTH;
    let mut lengths = LENGTHS.into_iter();
    loop {
        let mut counts = own.to_vec();
        let len = prune(tree, &mut counts, width).saturating_add(tree.len_of_lines(&counts));
        if len <= MAX_TEXT || width > 100.0 {
            return (counts, width);
        }
        match lengths.next() {
            Some(most) => tree.to_mut().shorten(most),
            None => width *= 2.0,
        }
    }
}

/// Gives the counts of all that is narrower than this, which is not drawn, to the nearest
/// node that is drawn. The picture is the same without; but this bounds the number
/// of lines, and with it the memory, however many different stacks there are. Returns the
/// bytes that will be written of what is drawn.
fn prune(tree: &Tree, counts: &mut [u64], min_width: f64) -> u64 {
    // Parents stand before their children: backwards, a sum is complete when
    // it is handed up.
    let mut totals = counts.to_vec();
    for (at, node) in tree.nodes.iter().enumerate().rev() {
        if let Some(parent) = node.parent {
            totals[parent] = totals[parent].saturating_add(totals[at]);
        }
    }
    let whole = counts.iter().fold(0_u64, |a, n| a.saturating_add(*n));
    let narrowest = whole as f64 * min_width / 100.0;
    let mut len = 0_u64;
    for (at, node) in tree.nodes.iter().enumerate().rev() {
        if (totals[at] as f64) >= narrowest {
            len = len.saturating_add(FRAME + 2 * tree.text(at).len() as u64);
        } else if let Some(parent) = node.parent {
            counts[parent] = counts[parent].saturating_add(counts[at]);
            counts[at] = 0;
        }
    }
    len
}

fn title(profile: &Profile, style: &Style) -> String {
    let title = style.title.as_deref().unwrap_or(&profile.meta.target);
    let title = if title.is_empty() {
        "Flame graph"
    } else {
        title
    };
    let title = escape::escape(title);
    if title.chars().count() <= TITLE_LENGTH {
        return title.into_owned();
    }
    let mut short: String = title.chars().take(TITLE_LENGTH - 1).collect();
    short.push('…');
    short
}

/// The origins that occur, in the order of the legend.
fn origins(tree: &Tree) -> Vec<Origin> {
    let mut origins: Vec<Origin> = tree.labels.iter().map(|l| l.origin).collect();
    origins.sort();
    origins.dedup();
    origins
}

/// Adds to the picture what the drawing library has no option for: a title for
/// the browser's tab, typography, a legend, and the result of a search beside
/// the button that starts it instead of at the far end of a long picture.
fn dress(svg: &str, title: &str, origins: &[Origin]) -> String {
    let css = format!(
        "#title {{ font-family:{FONTS}; font-weight:600; fill:#1a1a1a; }}\n\
         #subtitle, #legend, #matched {{ font-family:{FONTS}; fill:#555; }}\n\
         #search, #unzoom {{ font-family:{FONTS}; fill:#0b5cad; opacity:1; }}\n\
         #legend {{ text-anchor:end; }}\n\
         #details {{ paint-order:stroke; stroke:#fff; stroke-width:6px; }}\n\
         #frames rect {{ stroke:#fff; stroke-width:0.5; }}\n\
         #frames > *:hover rect {{ stroke:#000; }}\n\
         #frames > *:hover text {{ stroke:none; }}\n"
    );
    let title = format!("<title>{}</title>", xml(title));
    let svg = svg.replacen("<defs>", &format!("{title}<defs>"), 1);
    let svg = svg.replacen("</style>", &format!("{css}</style>"), 1);
    let details = "<text id=\"details\"";
    let svg = svg.replacen(details, &format!("{}{details}", legend(origins)), 1);
    raise_matched(&svg)
}

/// Names the colours that occur, above the picture on the right.
fn legend(origins: &[Origin]) -> String {
    let named = origins
        .iter()
        .filter_map(|o| Some((typical(*o), o.name()?)));
    let entries: Vec<String> = named
        .map(|(color, name)| {
            let (r, g, b) = (color.r, color.g, color.b);
            format!("<tspan fill=\"rgb({r},{g},{b})\">■</tspan> {name}")
        })
        .collect();
    let entries = entries.join("&#160;&#160; ");
    format!("<text id=\"legend\" x=\"100%\" dx=\"-10\" y=\"66\">{entries}</text>")
}

/// Puts the result of a search on the line of the subtitle.
fn raise_matched(svg: &str) -> String {
    let y = svg.find("<text id=\"matched\"").and_then(|start| {
        let y = start + svg[start..].find(" y=\"")? + 4;
        Some(y..y + svg[y..].find('"')?)
    });
    match y {
        Some(y) => format!("{}48{}", &svg[..y.start], &svg[y.end..]),
        None => svg.to_owned(),
    }
}

/// A picture that says why there is nothing in it.
fn write_empty(title: &str, subtitle: &str, reason: &str, out: &mut dyn Write) -> io::Result<()> {
    let (title, subtitle, reason) = (xml(title), xml(subtitle), xml(reason));
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1200\" height=\"200\" viewBox=\"0 0 1200 200\">\n\
         <title>{title}</title>\n\
         <style>text {{ font-family:{FONTS}; text-anchor:middle; font-size:14px; fill:#555; }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fdf1ec\"/>\n\
         <text id=\"title\" x=\"50%\" y=\"30\" style=\"font-weight:600; font-size:17px; fill:#1a1a1a\">{title}</text>\n\
         <text id=\"subtitle\" x=\"50%\" y=\"54\">{subtitle}</text>\n\
         <text id=\"empty\" x=\"50%\" y=\"112\" style=\"font-weight:700; font-size:34px; fill:#b3261e\">No samples</text>\n\
         <text id=\"reason\" x=\"50%\" y=\"148\" style=\"font-size:17px; fill:#1a1a1a\">{reason}</text>\n\
         </svg>"
    )
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
