use firefinch_report::grouped;
use firefinch_sampler::native::{Cut, Missing, Origin, Quality};
use firefinch_sampler::{Joins, Target};

use crate::failure::printable;

/// How many modules are named in a line.
const NAMED: usize = 4;

/// How good the native stacks of a target were, and what would make them better;
/// `None` if there were none.
pub(crate) fn quality(target: &Target) -> Option<String> {
    let quality = target.native_quality()?;
    let mut lines = vec![counts(&quality, target.joins(), target.runtime().is_some())];
    lines.extend(without(&quality, "symbols", |missing| missing.unnamed));
    lines.extend(without(&quality, "unwind tables", |missing| {
        missing.no_unwind_info
    }));
    Some(lines.join("\n"))
}

fn counts(quality: &Quality, joins: Joins, with_python: bool) -> String {
    let mut cuts: Vec<(&Cut, &u64)> = quality.truncated.iter().collect();
    cuts.sort_by_key(|(cut, count)| (std::cmp::Reverse(**count), **cut));
    let cuts = cuts.into_iter();
    let cuts = cuts.map(|(cut, count)| format!("{} {}", grouped(*count), word(*cut)));
    let mut parts = vec![
        format!(
            "{} native stacks: {} rooted{}",
            grouped(quality.stacks),
            percentage(quality.rooted, quality.stacks),
            in_brackets(&cuts.collect::<Vec<_>>())
        ),
        format!(
            "{} of frames named",
            percentage(quality.frames - quality.unnamed, quality.frames)
        ),
    ];
    if quality.by_frame_pointer > 0 {
        parts.push(format!(
            "{} by frame pointer",
            percentage(quality.by_frame_pointer, quality.stacks)
        ));
    }
    if with_python {
        let all = joins.whole + joins.partial + joins.alone.total();
        let mut less = Vec::new();
        if joins.partial > 0 {
            less.push(format!("{} in part", grouped(joins.partial)));
        }
        let alone = joins.alone.by_count().into_iter();
        less.extend(alone.map(|(reason, count)| {
            format!(
                "{} without native frames: {}",
                grouped(count),
                reason.keyword()
            )
        }));
        parts.push(format!(
            "{} merged whole{}",
            percentage(joins.whole, all),
            in_brackets(&less)
        ));
    }
    parts.join(", ")
}

fn word(cut: Cut) -> &'static str {
    match cut {
        Cut::TooLarge => "too large",
        Cut::Memory => "with memory that cannot be read",
        Cut::NoUnwindInfo => "without unwind tables",
        Cut::BadUnwindInfo => "with damaged unwind tables",
        Cut::UnknownRegister => "with a register that is not known",
        Cut::Nonsense => "that make no sense",
        Cut::TooDeep => "too deep",
    }
}

/// The modules without something, those first that were met most often, and how
/// to get it.
fn without(quality: &Quality, what: &str, count: impl Fn(&Missing) -> u64) -> Option<String> {
    let modules = quality.modules.iter();
    let missing = modules.map(|(origin, missing)| (origin, missing, count(missing)));
    let mut missing: Vec<_> = missing.filter(|(_, _, count)| *count > 0).collect();
    missing.sort_by_key(|(origin, _, count)| (std::cmp::Reverse(*count), *origin));
    let (first, _, _) = missing.first()?;
    let how = how(first, what);
    let more = missing.len().saturating_sub(NAMED);
    let named = missing.iter().take(NAMED);
    let mut named: Vec<String> = named
        .map(|(_, missing, count)| format!("{} ({} frames)", missing.name, grouped(*count)))
        .collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let text = format!("  without {what}: {}; {how}", named.join(", "));
    Some(printable(&text))
}

/// What to do for the module that was met most often.
fn how(origin: &Origin, what: &str) -> String {
    match (origin, what) {
        (Origin::File(file), "symbols") => format!(
            "install the package with its debug symbols, or: debuginfod-find debuginfo {}",
            file.path.display()
        ),
        (Origin::File(_), _) => "build it with -fasynchronous-unwind-tables".to_owned(),
        (_, "symbols") => "a JIT can name its code in /tmp/perf-PID.map".to_owned(),
        _ => "code made at run time has to keep frame pointers".to_owned(),
    }
}

fn in_brackets(parts: &[String]) -> String {
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    }
}

/// 100 % is all, and never all but a few.
fn percentage(part: u64, whole: u64) -> String {
    let tenths = (part as f64 / whole.max(1) as f64 * 1e3).floor() / 10.0;
    match part == whole {
        true => "100 %".to_owned(),
        false => format!("{tenths:.1} %"),
    }
}
