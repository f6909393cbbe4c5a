//! What is said of the data, on the screen and as text.

use std::time::Duration;

use firefinch_profile::Profile;
use firefinch_report::{LineStyle, Style, frame_parts, grouped};

use super::app::App;
use super::data::Data;
use super::label::label;
use super::table::{Entry, Grouping};
use super::totals::Totals;

/// Of what time shares and sums are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Recent,
    All,
}

impl Span {
    fn totals(self, data: &Data) -> Totals {
        match self {
            Self::Recent => data.recent(),
            Self::All => *data.all(),
        }
    }
}

/// `python3.11 (PID 4242), Python 3.11.7`.
pub(super) fn target(data: &Data) -> String {
    let status = data.status();
    match &status.python {
        Some(python) => format!("{}, {python}", status.target),
        None => status.target.clone(),
    }
}

/// `12.5 s at 100 Hz`.
pub(super) fn length(data: &Data) -> String {
    let rate = data.names().meta.rate_hz();
    format!("{} at {rate:.0} Hz", time(data.elapsed()))
}

/// How much was seen, how much was not, and what it cost.
pub(super) fn counts(data: &Data, span: Span) -> String {
    let all = data.all();
    let lost = match all.main_loss() {
        Some((reason, count)) if count == all.losses.total() => {
            format!("{} lost ({})", grouped(count), reason.keyword())
        }
        Some((reason, _)) => format!(
            "{} lost (most: {})",
            grouped(all.losses.total()),
            reason.keyword()
        ),
        None => "0 lost".to_owned(),
    };
    let totals = span.totals(data);
    format!(
        "{} samples, {lost}, {} ticks missed, own CPU {}",
        grouped(all.samples),
        grouped(all.missed),
        percentage(totals.share(totals.own_cpu_ns)),
    )
}

/// What the threads do: `14 threads in 3 processes, 1.02 running, GIL held 97.0 %`.
pub(super) fn threads(data: &Data, span: Span) -> String {
    let status = data.status();
    let totals = span.totals(data);
    let s = if status.threads == 1 { "" } else { "s" };
    let processes = match status.processes {
        0 | 1 => String::new(),
        several => format!(" in {} processes", grouped(several as u64)),
    };
    let mut text = format!(
        "{} thread{s}{processes}, {:.2} running",
        grouped(status.threads as u64),
        totals.share(totals.running_ns)
    );
    if totals.gil_wait_ns > 0 {
        let waiting = totals.share(totals.gil_wait_ns);
        text.push_str(&format!(", {waiting:.2} waiting for the GIL"));
    }
    if status.has_gil {
        let held = percentage(totals.share(totals.gil_ns));
        text.push_str(&format!(", GIL held {held}"));
    }
    let whom = match (status.whom.idle, status.whom.gil) {
        (_, true) => " (shown: who holds the GIL)",
        (true, false) => " (shown: idle threads too)",
        (false, false) => "",
    };
    text + whom
}

/// The headings of the numbers of a row.
pub(super) const HEADINGS: [&str; 4] = ["%Own", "%Total", "OwnTime", "TotalTime"];

/// The heading of what a row is about.
pub(super) fn subject_heading(app: &App) -> &'static str {
    match (app.grouping, app.label_style().lines) {
        (Grouping::Functions, LineStyle::Current) => "Function (file:hottest line)",
        (Grouping::Functions, LineStyle::FunctionFirst) => "Function (file:first line)",
        (Grouping::Functions, LineStyle::None) => "Function (file)",
        (Grouping::Lines, _) => "Line: function (file:line)",
    }
}

/// How many columns each of them has.
pub(super) const WIDTHS: [usize; 4] = [7, 7, 9, 10];

/// The numbers of a row, each with spaces before it.
pub(super) fn numbers(entry: &Entry, totals: &Totals, span: Span) -> [String; 4] {
    let shares = match span {
        Span::Recent => entry.recent,
        Span::All => entry.all,
    };
    let texts = [
        format!("{:.1}%", 100.0 * totals.share(shares.own)),
        format!("{:.1}%", 100.0 * totals.share(shares.total)),
        time(Duration::from_nanos(entry.all.own)),
        time(Duration::from_nanos(entry.all.total)),
    ];
    let [a, b, c, d] = WIDTHS;
    let [own, total, own_time, total_time] = texts;
    [
        format!("{own:>a$}"),
        format!("{total:>b$}"),
        format!("{own_time:>c$}"),
        format!("{total_time:>d$}"),
    ]
}

/// What a row is about, in at most so many columns.
pub(super) fn subject(names: &Profile, style: &Style, entry: &Entry, columns: usize) -> String {
    let (name, place) = frame_parts(names, style, &entry.frame);
    label(&name, &place, columns)
}

/// Seconds, as many digits as are worth it: `0.53 s`, `82.1 s`, `1,234 s`.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.995 {
        format!("{seconds:.2} s")
    } else if seconds < 999.95 {
        format!("{seconds:.1} s")
    } else {
        format!("{} s", grouped(duration.as_secs()))
    }
}

fn percentage(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
