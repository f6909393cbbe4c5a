use std::fmt;

use crate::layout::{DebugOffsetsError, MissingField, Version};

/// Why no interpreter can be read in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindError {
    /// Nothing in any mapped file looks like CPython.
    NotPython,
    /// CPython is there, but has no interpreter yet, or no more.
    NotReady(Option<Version>),
    /// A version without a layout.
    Unsupported(Version),
    /// The target's own offsets are refused.
    DebugOffsets(DebugOffsetsError),
    /// The layout lacks a field; a defect of the table.
    Layout(MissingField),
    /// The version is known, but nothing has the shape it should have.
    Unrecognised(Version),
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPython => f.write_str("no Python interpreter in the process"),
            Self::NotReady(Some(v)) => write!(f, "Python {v} has no interpreter running"),
            Self::NotReady(None) => f.write_str("Python has no interpreter running"),
            Self::Unsupported(v) => write!(f, "Python {v} is not supported"),
            Self::DebugOffsets(e) => e.fmt(f),
            Self::Layout(e) => e.fmt(f),
            Self::Unrecognised(v) => {
                write!(f, "Python {v}, but its data have an unknown shape")
            }
        }
    }
}

impl std::error::Error for FindError {}

impl From<MissingField> for FindError {
    fn from(error: MissingField) -> Self {
        Self::Layout(error)
    }
}
