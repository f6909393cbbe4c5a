use firefinch_profile::Profile;
use firefinch_report::{Style, frame_label, grouped, lost};

use crate::failure::printable;

/// How many of the hottest functions a terminal is told.
const HOTTEST: usize = 5;

/// What a recording saw and what it cost, for standard error: enough to have
/// the answer without opening the picture.
pub(crate) fn summary(profile: &Profile, style: &Style) -> String {
    let mut lines = vec![counts(profile)];
    let total = profile.weight_ns();
    let mut hottest = profile.hottest(HOTTEST);
    // What rounds to nothing answers nothing.
    hottest
        .retain(|hot| tenths(hot.self_ns, total) != "0.0" || tenths(hot.total_ns, total) != "0.0");
    if !hottest.is_empty() {
        lines.push("  self   total  hottest functions, at their hottest line".to_owned());
    }
    for hot in hottest {
        let label = frame_label(profile, style, &hot.frame);
        lines.push(format!(
            "{:>5}%  {:>5}%  {}",
            tenths(hot.self_ns, total),
            tenths(hot.total_ns, total),
            printable(&label)
        ));
    }
    lines.join("\n")
}

fn counts(profile: &Profile) -> String {
    let seconds = profile.meta.duration_ns as f64 / 1e9;
    let of = if profile.meta.cpu_time {
        " of processor time"
    } else {
        ""
    };
    format!(
        "{seconds:.1} s at {:.0} Hz: {} samples{of}, {} ticks missed, {}; own CPU {:.2} s ({:.1} %)",
        profile.meta.rate_hz(),
        grouped(profile.sample_count()),
        grouped(profile.missed()),
        lost(profile.losses()),
        profile.meta.profiler_cpu_ns as f64 / 1e9,
        percent(profile.meta.profiler_cpu_ns, profile.meta.duration_ns),
    )
}

/// The percentage as it is shown.
fn tenths(part: u64, whole: u64) -> String {
    format!("{:.1}", percent(part, whole))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}
