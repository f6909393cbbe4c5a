use firefinch_profile::Profile;

use crate::{grouped, lost};

/// What a reader must know to judge a picture:
/// `12.0 s at 100 Hz · 1,200 samples · 2 lost (2 torn) · 3 ticks missed`.
pub(crate) fn subtitle(profile: &Profile) -> String {
    let meta = &profile.meta;
    let seconds = meta.duration_ns as f64 / 1e9;
    let rate = meta.rate_hz();
    // A whole rate seldom has a whole interval: 300 Hz are 3,333,333 ns.
    let rate = if rate >= 0.95 {
        format!("{rate:.0}")
    } else {
        format!("{rate:.2}")
    };
    let lost = lost(profile.losses());
    let samples = counted(profile.sample_count(), "sample");
    let missed = counted(profile.missed(), "tick");
    format!("{seconds:.1} s at {rate} Hz · {samples} · {lost} · {missed} missed")
}

/// `1 tick`, `2 ticks`
pub(crate) fn counted(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(n))
}
