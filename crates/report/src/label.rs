use std::fmt::Write;

use firefinch_profile::{Frame, FrameKind, Process, Profile, Thread};

use crate::escape::escape;
use crate::{LineStyle, Style};

/// What a report calls a frame: `name (file.py:12)`, with the class before the
/// name where it is known; of file and line what is known and asked for.
pub fn frame_label(profile: &Profile, style: &Style, frame: &Frame) -> String {
    let name = profile.string(frame.qualified_name.unwrap_or(frame.name));
    if frame.kind == FrameKind::Marker {
        return escape(name).into_owned();
    }
    let short = frame.short_file.filter(|_| !style.full_filenames);
    let Some(file) = short.or(frame.file) else {
        return escape(name).into_owned();
    };
    let line = match style.lines {
        LineStyle::Current => frame.line,
        LineStyle::FunctionFirst => frame.first_line,
        LineStyle::None => None,
    };
    let name = if name.is_empty() { "<unnamed>" } else { name };
    let mut label = format!("{name} ({}", profile.string(file));
    if let Some(line) = line {
        write!(label, ":{line}").expect("a String takes all that is written to it");
    }
    label.push(')');
    escape(&label).into_owned()
}

/// What a report calls a thread: `thread 4242 "worker-1"`.
pub fn thread_label(thread: &Thread) -> String {
    numbered("thread", thread.tid, &thread.name)
}

/// What a report calls a process: `process 4242 "python app.py"`.
pub fn process_label(process: &Process) -> String {
    numbered("process", process.pid, &process.command)
}

fn numbered(kind: &str, number: u32, name: &str) -> String {
    if name.is_empty() {
        format!("{kind} {number} (unnamed)")
    } else {
        escape(&format!("{kind} {number} \"{name}\"")).into_owned()
    }
}
