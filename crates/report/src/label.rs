use std::fmt;
use std::num::NonZeroU32;

use firefinch_profile::{Frame, FrameKind, Process, Profile, Thread};

use crate::escape::escape;
use crate::{LineStyle, Style};

/// A function and where it is, as people write it: `name (file.py:12)`; of file
/// and line what is known. Machine code without a known file is `name
/// (libz.so.1)`; if it has no name, it has its object's in place of that, which
/// is not said twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function<'a> {
    /// The name; empty if there is none.
    pub name: &'a str,
    /// The source file.
    pub file: Option<&'a str>,
    /// The line in it.
    pub line: Option<NonZeroU32>,
    /// The object file that machine code is in.
    pub module: Option<&'a str>,
}

impl Function<'_> {
    /// Where it is, if that is known and the name does not say it: `file.py:12`,
    /// `libz.so.1`. Unescaped.
    pub fn place(&self) -> Option<String> {
        let Self { name, file, .. } = *self;
        let module = self.module.filter(|module| !is_named_after(name, module));
        let place = file.or(module)?;
        Some(match self.line.filter(|_| file.is_some()) {
            Some(line) => format!("{place}:{line}"),
            None => place.to_owned(),
        })
    }
}

impl fmt::Display for Function<'_> {
    /// Unescaped, as it came from the target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        let Some(place) = self.place() else {
            return f.write_str(name);
        };
        let name = if name.is_empty() { "<unnamed>" } else { name };
        write!(f, "{name} ({place})")
    }
}

/// What a report calls a frame: its [`Function`], with the class before the
/// name where it is known, and the line that is asked for.
pub fn frame_label(profile: &Profile, style: &Style, frame: &Frame) -> String {
    escape(&function(profile, style, frame).to_string()).into_owned()
}

/// The two parts of a [`frame_label`]: the name, and the place, which may be empty.
pub fn frame_parts(profile: &Profile, style: &Style, frame: &Frame) -> (String, String) {
    let function = function(profile, style, frame);
    let place = function.place();
    let place = place.map_or_else(String::new, |place| escape(&place).into_owned());
    (escape(function.name).into_owned(), place)
}

fn function<'a>(profile: &'a Profile, style: &Style, frame: &Frame) -> Function<'a> {
    let name = profile.string(frame.qualified_name.unwrap_or(frame.name));
    if frame.kind == FrameKind::Marker {
        return Function {
            name,
            ..Function::default()
        };
    }
    let short = frame.short_file.filter(|_| !style.full_filenames);
    Function {
        name,
        file: short.or(frame.file).map(|file| profile.string(file)),
        line: match style.lines {
            LineStyle::Current => frame.line,
            LineStyle::FunctionFirst => frame.first_line,
            LineStyle::None => None,
        },
        module: frame.module.map(|module| profile.string(module)),
    }
}

/// Whether a name is an object's with an address in it, `libz.so.1+0x1230`, or
/// the object's alone.
fn is_named_after(name: &str, module: &str) -> bool {
    let rest = name.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("+0x"))
}

/// What a report calls a thread: `thread 4242 "worker-1"`.
pub fn thread_label(thread: &Thread) -> String {
    let Thread { tid, name, .. } = thread;
    match name.is_empty() {
        true => format!("thread {tid} (unnamed)"),
        false => escape(&format!("thread {tid} \"{name}\"")).into_owned(),
    }
}

/// What a report calls a process: `process 4242: gunicorn`.
pub fn process_label(process: &Process) -> String {
    let Process { pid, name } = process;
    match name.is_empty() {
        true => format!("process {pid}"),
        false => {
            // No stack ends in it: a number at its end is not taken for a count.
            let mut label = escape(&format!("process {pid}: {name}.x")).into_owned();
            label.truncate(label.len() - ".x".len());
            label
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process goes by its number and name as they are, but for what would break a format.
    #[test]
    fn processes() {
        let label = |name: &str| {
            process_label(&Process {
                pid: 7,
                name: name.to_owned(),
            })
        };
        assert_eq!(label("gunicorn"), "process 7: gunicorn");
        assert_eq!(label("web: worker 0"), "process 7: web: worker 0");
        assert_eq!(label("a;b\n"), "process 7: a\\x3bb\\n");
        assert_eq!(label(""), "process 7");
    }
}
