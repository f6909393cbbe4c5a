use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A flame graph: one interactive SVG file.
    Flamegraph,
    /// Collapsed stacks: one line for each different stack, its frames from the
    /// outermost to the innermost joined by `;`, then a space and a count.
    Collapsed,
}

/// Everything that names a format, the preferred word first.
struct Row {
    format: Format,
    names: &'static [&'static str],
    extensions: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        format: Format::Flamegraph,
        names: &["flamegraph", "svg"],
        extensions: &["svg"],
    },
    Row {
        format: Format::Collapsed,
        names: &["collapsed", "raw", "folded"],
        extensions: &["txt", "folded", "collapsed"],
    },
];

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Flamegraph, Self::Collapsed];

    fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.format == self)
            .expect("every format has a row")
    }

    /// The name to show and to ask for, `flamegraph`.
    pub fn name(self) -> &'static str {
        self.row().names[0]
    }

    /// The usual extension of such a file, without the dot.
    pub fn extension(self) -> &'static str {
        self.row().extensions[0]
    }

    /// The format that an extension asks for, with or without its dot, in
    /// either case of letters.
    pub fn from_extension(extension: &str) -> Option<Self> {
        let extension = extension.strip_prefix('.').unwrap_or(extension);
        let known = |row: &&Row| {
            let mut known = row.extensions.iter();
            known.any(|e| e.eq_ignore_ascii_case(extension))
        };
        ROWS.iter().find(known).map(|row| row.format)
    }

    /// The format that a file's name asks for.
    pub fn from_path(path: &Path) -> Option<Self> {
        Self::from_extension(path.extension()?.to_str()?)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no format's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFormat(
    /// The name.
    pub String,
);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown format {:?}; known are ", self.0)?;
        for (at, row) in ROWS.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", row.names[0])?;
            if let [_, also @ ..] = row.names {
                write!(f, " (or {})", also.join(", "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFormat {}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = |row: &&Row| row.names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let row = ROWS.iter().find(known);
        row.map(|row| row.format)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every format is found by its own name and extension, and by py-spy's names.
    #[test]
    fn names_and_extensions_lead_back() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert_eq!(Format::from_extension(format.extension()), Some(format));
        }
        assert_eq!("raw".parse(), Ok(Format::Collapsed));
        assert_eq!("svg".parse(), Ok(Format::Flamegraph));
        assert_eq!(Format::from_extension(".SVG"), Some(Format::Flamegraph));
        assert_eq!(Format::from_extension("folded"), Some(Format::Collapsed));
        assert_eq!(Format::from_path(Path::new("a.b/svg")), None);
    }

    /// An unknown name is answered with the known ones.
    #[test]
    fn unknown_name_lists_the_known() {
        let error = "flame".parse::<Format>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown format \"flame\"; known are flamegraph (or svg), collapsed (or raw, folded)"
        );
    }
}
