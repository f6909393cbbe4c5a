use std::fmt;

/// Why there is nothing to be had from an object file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The caller has no bytes for it.
    NotFound,
    /// No ELF file for a 64-bit little-endian machine, or a damaged one.
    NotElf,
    /// It is for another processor.
    OtherMachine,
    /// It is another file than the one that was mapped.
    OtherBuildId,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the file cannot be had",
            Self::NotElf => "not a sound ELF file",
            Self::OtherMachine => "for another processor",
            Self::OtherBuildId => "replaced by another file",
        })
    }
}

impl std::error::Error for ImageError {}
