//! What several tests need: profiles from a short description, and a picture
//! read back by a real XML parser.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a description that is wrong shall stop the test"
)]

pub(crate) mod describe;
pub(crate) mod picture;

use firefinch_profile::Profile;
use firefinch_report::{Format, Style, write};

/// The report as text; it must be UTF-8.
pub(crate) fn render(profile: &Profile, format: Format, style: &Style) -> String {
    let mut out = Vec::new();
    write(profile, format, style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}
