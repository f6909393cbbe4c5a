//! A profile, written down line by line:
//!
//! ```text
//! rate 100                    ticks a second
//! duration 12.5               seconds
//! target python app.py        the default title
//! idle                        waiting threads were recorded
//! ticks 1200 / missed 3 / lost torn 2
//! file json/decoder.py /usr/lib/python3.11/json/decoder.py
//! process 4242 python app.py  what follows belongs to it
//! thread 4243 worker-1        likewise
//! 30 main@app.py:10 > load=Shop.load@shop.py:12/9 > !read%libc.so.6
//! 2.5 …                       so many samples; if not whole, one of that many ticks
//! style threads nolineno functions full
//! ```
//!
//! A frame is a name, perhaps `=` and its qualified name, perhaps `%` and an
//! object file, perhaps `@` and a file, `:` and a line, `/` and the function's
//! first line; `!` before it makes it native, `!!` inlined, `?` a marker. `\u{…}` and the like in names are Rust's.
//! `x5000` after a frame repeats it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::SystemTime;

use firefinch_profile::{
    Frame, FrameId, FrameKind, LossReason, Meta, Process, ProcessId, Profile, Sample, Thread,
    ThreadId, ThreadState,
};
use firefinch_report::{LineStyle, Style};

/// The profile and the style that a text describes.
pub(crate) fn describe(text: &str) -> (Profile, Style) {
    let mut reader = Reader::new();
    for line in text.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            reader.line(line);
        }
    }
    (reader.profile, reader.style)
}

struct Reader {
    profile: Profile,
    style: Style,
    files: HashMap<String, String>,
    process: Option<ProcessId>,
    thread: Option<ThreadId>,
    time_ns: u64,
}

impl Reader {
    fn new() -> Self {
        let rate = NonZeroU32::new(100).unwrap();
        Self {
            profile: Profile::new(Meta::at_rate(rate, SystemTime::UNIX_EPOCH)),
            style: Style::default(),
            files: HashMap::new(),
            process: None,
            thread: None,
            time_ns: 0,
        }
    }

    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let meta = &mut self.profile.meta;
        match word {
            "rate" => *meta = Meta::at_rate(rest.parse().unwrap(), meta.start),
            "duration" => meta.duration_ns = (rest.parse::<f64>().unwrap() * 1e9) as u64,
            "target" => meta.target = unescape(rest),
            "idle" => meta.idle_threads = true,
            "ticks" => (0..rest.parse().unwrap()).for_each(|_: u32| self.profile.tick()),
            "missed" => self.profile.miss(rest.parse().unwrap()),
            "lost" => self.lost(rest),
            "file" => {
                let (short, full) = rest.split_once(' ').unwrap();
                self.files.insert(short.to_owned(), full.to_owned());
            }
            "process" => self.add_process(rest),
            "thread" => self.add_thread(rest),
            "style" => rest.split(' ').for_each(|word| self.set_style(word)),
            ticks => self.sample(ticks.parse().unwrap(), rest),
        }
    }

    fn lost(&mut self, rest: &str) {
        let (word, n) = rest.rsplit_once(' ').unwrap();
        let mut reasons = LossReason::ALL.into_iter();
        let reason = reasons.find(|r| r.keyword() == word).unwrap();
        self.profile.lose(reason, n.parse().unwrap());
    }

    fn add_process(&mut self, rest: &str) {
        let (pid, name) = rest.split_once(' ').unwrap_or((rest, ""));
        self.process = Some(self.profile.add_process(Process {
            pid: pid.parse().unwrap(),
            name: unescape(name),
        }));
        self.thread = None;
    }

    fn add_thread(&mut self, rest: &str) {
        if self.process.is_none() {
            self.add_process("4242 python app.py");
        }
        let (tid, name) = rest.split_once(' ').unwrap_or((rest, ""));
        self.thread = Some(self.profile.add_thread(Thread {
            process: self.process.unwrap(),
            tid: tid.parse().unwrap(),
            name: unescape(name),
        }));
    }

    fn set_style(&mut self, word: &str) {
        match word {
            "threads" => self.style.thread_roots = true,
            "processes" => self.style.process_roots = true,
            "full" => self.style.full_filenames = true,
            "nolineno" => self.style.lines = LineStyle::None,
            "functions" => self.style.lines = LineStyle::FunctionFirst,
            other => panic!("unknown style {other}"),
        }
    }

    fn sample(&mut self, ticks: f64, stack: &str) {
        if self.thread.is_none() {
            self.add_thread("4242 MainThread");
        }
        let mut frames = Vec::new();
        for text in stack.split(" > ") {
            let (text, times) = match text.rsplit_once(" x") {
                Some((text, times)) => (text, times.parse().unwrap()),
                None => (text, 1),
            };
            let frame = self.frame(text);
            frames.extend(std::iter::repeat_n(frame, times));
        }
        let stack = self.profile.intern_frames(frames).unwrap();
        let whole = ticks.fract() == 0.0;
        let (count, each) = if whole {
            (ticks as u64, 1.0)
        } else {
            (1, ticks)
        };
        let weight_ns = (each * self.profile.meta.interval_ns.get() as f64) as u64;
        for _ in 0..count {
            self.time_ns += weight_ns;
            self.profile.add_sample(Sample {
                time_ns: self.time_ns,
                thread: self.thread.unwrap(),
                stack,
                weight_ns,
                state: ThreadState::Running,
                holds_gil: true,
            });
        }
    }

    fn frame(&mut self, text: &str) -> FrameId {
        let (kind, text) = match text.as_bytes()[0] {
            b'!' => (FrameKind::Native, &text[1..]),
            b'?' => (FrameKind::Marker, &text[1..]),
            _ => (FrameKind::Python, text),
        };
        let (inlined, text) = match text.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (names, place) = text
            .split_once('@')
            .map_or((text, None), |(n, p)| (n, Some(p)));
        let (names, module) = names
            .split_once('%')
            .map_or((names, None), |(n, m)| (n, Some(m)));
        let (name, qualified) = names
            .split_once('=')
            .map_or((names, None), |(n, q)| (n, Some(q)));
        let name = self.profile.intern_string(&unescape(name));
        let mut frame = Frame::new(name, kind);
        frame.module = module.map(|m| self.profile.intern_string(&unescape(m)));
        frame.inlined = inlined;
        frame.qualified_name = qualified.map(|q| self.profile.intern_string(&unescape(q)));
        let Some(place) = place else {
            return self.profile.intern_frame(frame);
        };
        let (file, lines) = place.rsplit_once(':').unwrap_or((place, ""));
        let (line, first) = lines.split_once('/').unwrap_or((lines, ""));
        frame.line = line.parse().ok();
        frame.first_line = first.parse().ok();
        let full = self.files.get(file).map_or(file, String::as_str);
        frame.file = Some(self.profile.intern_string(&unescape(full)));
        frame.short_file = Some(self.profile.intern_string(&unescape(file)));
        self.profile.intern_frame(frame)
    }
}

/// `\n`, `\\`, `\u{1b}` as Rust means them.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next().unwrap() {
                'n' => out.push('\n'),
                'u' => {
                    let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(&digits, 16).unwrap();
                    out.push(char::from_u32(code).unwrap());
                }
                other => out.push(other),
            },
            c => out.push(c),
        }
    }
    out
}
