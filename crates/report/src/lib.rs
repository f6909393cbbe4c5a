//! A profile in, a picture or a file out.
//!
//! [`write()`] turns a [`Profile`] into one of the [`Format`]s, with labels as a
//! [`Style`] asks for. The same profile and style give the same bytes, always.
//!
//! Names come from the target and may hold anything. In every format a
//! character that would break the format or mislead the reader is written as a
//! backslash escape (`\n`, `\x3b` for a semicolon, `\u{202e}`), and a backslash
//! as two, so that the original can be had back.
#![forbid(unsafe_code)]

mod collapsed;
mod color;
mod elide;
mod empty;
mod error;
mod escape;
mod flamegraph;
mod format;
mod label;
mod length;
mod lost;
mod number;
mod origin;
mod style;
mod subtitle;
mod tree;

use std::io::Write;

use firefinch_profile::Profile;

pub use empty::why_empty;
pub use error::ReportError;
pub use escape::misleads;
pub use format::{Format, UnknownFormat};
pub use label::{Function, frame_label, frame_parts, process_label, thread_label};
pub use lost::lost;
pub use number::grouped;
pub use style::{LineStyle, Style};

/// Writes the profile in this format.
///
/// A profile without samples is no error: collapsed stacks are then an empty
/// file, and a flame graph says in large letters why there is nothing to see.
///
/// # Errors
/// [`ReportError`] if `out` refuses the bytes; some may have been written.
pub fn write(
    profile: &Profile,
    format: Format,
    style: &Style,
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    match format {
        Format::Flamegraph => flamegraph::write(profile, style, out)?,
        Format::Collapsed => collapsed::write(profile, style, out)?,
    }
    out.flush()?;
    Ok(())
}
