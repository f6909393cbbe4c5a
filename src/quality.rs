use std::cmp::Reverse;
use std::path::Path;

use firefinch_process::Process;
use firefinch_report::grouped;
use firefinch_sampler::native::{Cut, Origin};
use firefinch_sampler::{NativeSummary, Tally};

use crate::failure::printable;
use crate::packages::debug_package;

/// How many modules are named in a line.
const NAMED: usize = 4;

/// How good native stacks were, and what would make them better: of `process`,
/// and of others if there are.
pub(crate) fn quality(summary: &NativeSummary, process: &Process) -> String {
    let tally = &summary.tally;
    let mut lines = vec![counts(tally, summary.with_python)];
    let unnamed = tally.unnamed.iter();
    let unnamed = unnamed.map(|(origin, (name, count))| (origin, &**name, *count));
    lines.extend(without(summary, process, "symbols", unnamed.collect()));
    let modules = tally.quality.modules.iter();
    let modules = modules.map(|(origin, m)| (origin, &*m.name, m.no_unwind_info));
    lines.extend(without(
        summary,
        process,
        "unwind tables",
        modules.collect(),
    ));
    if let Some(why) = &summary.names_refused {
        lines.push(printable(&format!("  names not believed: {why}")));
    }
    if let Some(why) = &summary.kernel_refused {
        let why = format!("  without the kernel's frames, which take CAP_SYS_ADMIN: {why}");
        lines.push(printable(&why));
    }
    lines.join("\n")
}

fn counts(tally: &Tally, with_python: bool) -> String {
    let quality = &tally.quality;
    let mut cuts: Vec<(&Cut, &u64)> = quality.truncated.iter().collect();
    cuts.sort_by_key(|(cut, count)| (Reverse(**count), **cut));
    let cuts = cuts.into_iter();
    let cuts = cuts.map(|(cut, count)| format!("{} {}", grouped(*count), word(*cut)));
    let unnamed: u64 = tally.unnamed.values().map(|(_, count)| count).sum();
    let mut parts = vec![
        format!(
            "{} native stack{}: {} rooted{}",
            grouped(quality.stacks),
            if quality.stacks == 1 { "" } else { "s" },
            percentage(quality.rooted, quality.stacks),
            in_brackets(&cuts.collect::<Vec<_>>())
        ),
        format!(
            "{} of frames named",
            percentage(tally.shown - unnamed, tally.shown)
        ),
    ];
    if quality.by_frame_pointer > 0 {
        parts.push(format!(
            "{} by frame pointer",
            percentage(quality.by_frame_pointer, quality.stacks)
        ));
    }
    if with_python {
        let mut less = Vec::new();
        if tally.partial > 0 {
            less.push(format!("{} in part", grouped(tally.partial)));
        }
        let alone = tally.alone.by_count().into_iter();
        less.extend(alone.map(|(reason, count)| {
            let why = reason.keyword();
            format!("{} without native frames: {why}", grouped(count))
        }));
        let all = tally.whole + tally.partial + tally.alone.total();
        parts.push(format!(
            "{} merged whole{}",
            percentage(tally.whole, all),
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
fn without(
    summary: &NativeSummary,
    process: &Process,
    what: &str,
    mut modules: Vec<(&Origin, &str, u64)>,
) -> Option<String> {
    modules.retain(|(_, _, count)| *count > 0);
    modules.sort_by_key(|(origin, _, count)| (Reverse(*count), *origin));
    let (first, _, _) = modules.first()?;
    let more = modules.len().saturating_sub(NAMED);
    let named = modules.iter().take(NAMED);
    let mut named: Vec<String> = named
        .map(|(_, name, count)| format!("{name} ({} frames)", grouped(*count)))
        .collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let (named, how) = (named.join(", "), how(summary, process, first, what));
    Some(printable(&format!("  without {what}: {named}; {how}")))
}

/// What to do for the module that was met most often.
fn how(summary: &NativeSummary, process: &Process, origin: &Origin, what: &str) -> String {
    match (origin, what) {
        (Origin::File(file), "symbols") => symbols(summary, process, &file.path),
        (Origin::File(_), _) => "build it with -fasynchronous-unwind-tables".to_owned(),
        (_, "symbols") => "a JIT can name its code in /tmp/perf-PID.map".to_owned(),
        _ => "code made at run time has to keep frame pointers".to_owned(),
    }
}

/// How to get names for the functions of a file: debug symbols are found by its
/// build id, and one without is of no distribution.
fn symbols(summary: &NativeSummary, process: &Process, file: &Path) -> String {
    let objects = &summary.without_symbols;
    let name = file.file_name().map(|name| name.to_string_lossy());
    let object = objects
        .iter()
        .find(|object| Some(&*object.name) == name.as_deref());
    let build_id = object.map(|object| &*object.build_id);
    let package = debug_package(process, file, build_id);
    match (package, build_id) {
        (Some(package), Some(_)) => format!("{package}, or try --debuginfod"),
        (Some(package), None) => package,
        (None, Some(_)) => "install its debug symbols, or try --debuginfod".to_owned(),
        (None, None) => "build it without stripping its symbols".to_owned(),
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
