use super::{Target, TrueFrame, firefinch};

/// Asks for a dump with whole paths.
pub(crate) fn full_dump(target: &Target) -> Dump {
    let run = firefinch(["dump", "--full-filenames", &target.pid_arg()]).succeeded();
    assert_eq!(run.stderr, "");
    Dump::parse(&run.stdout)
}

/// What `dump` printed.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) process: String,
    /// Its version; `None` where there is none.
    pub(crate) python: Option<String>,
    pub(crate) threads: Vec<Thread>,
}

/// One frame, of Python or native.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) name: String,
    /// A source file, or the object file of a native one.
    pub(crate) place: Option<String>,
    pub(crate) line: Option<u64>,
}

/// One thread of it, newest frame first.
#[derive(Debug)]
pub(crate) struct Thread {
    /// `None` where the system's number is not known and the interpreter's is shown.
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    /// The number of its interpreter where that is not the main one.
    pub(crate) interpreter: Option<u64>,
    pub(crate) state: String,
    pub(crate) frames: Vec<TrueFrame>,
    /// The same with native frames among them.
    pub(crate) merged: Vec<Frame>,
    /// What stands there instead of frames.
    pub(crate) remark: Option<String>,
}

impl Dump {
    /// Reads all of it: a line that does not belong there fails the test.
    pub(crate) fn parse(text: &str) -> Self {
        let mut blocks = text.strip_suffix('\n').unwrap_or(text).split("\n\n");
        let head = blocks.next().unwrap_or_default();
        let (process, python) = head.split_once('\n').expect("two lines of heading");
        Self {
            process: process.strip_prefix("Process ").unwrap().to_owned(),
            python: match python {
                "no Python" => None,
                python => Some(python.strip_prefix("Python ").unwrap().to_owned()),
            },
            threads: blocks.map(Thread::parse).collect(),
        }
    }

    /// The thread of this name, of which there must be one.
    pub(crate) fn thread(&self, name: &str) -> &Thread {
        let mut named = self.threads.iter().filter(|thread| thread.name == name);
        let found = named.next();
        let found = found.unwrap_or_else(|| panic!("no thread {name} in {self:#?}"));
        assert!(named.next().is_none(), "two threads {name} in {self:#?}");
        found
    }

    /// The only thread.
    pub(crate) fn only(&self) -> &Thread {
        assert_eq!(self.threads.len(), 1, "one thread in {self:#?}");
        &self.threads[0]
    }
}

impl Thread {
    /// Fails at the first frame that differs, with both stacks at hand.
    #[track_caller]
    pub(crate) fn assert_stack(&self, truth: &[TrueFrame]) {
        let at = self.frames.iter().zip(truth).position(|(a, b)| a != b);
        assert!(
            self.frames == truth,
            "at {at:?}, shown {:#?}\ntrue {truth:#?}",
            self.frames
        );
    }

    fn parse(block: &str) -> Self {
        let mut lines = block.lines();
        let head = lines.next().unwrap_or_default();
        let parts = head.strip_prefix("Thread ").and_then(|rest| {
            let (id, rest) = rest.split_once(" \"")?;
            let (name, rest) = rest.rsplit_once('"')?;
            let (interpreter, state) = rest.split_once(": ")?;
            Some((id, name, interpreter, state))
        });
        let (id, name, interpreter, state) = parts.unwrap_or_else(|| panic!("a heading: {head}"));
        let mut thread = Self {
            id: match id.strip_prefix("0x") {
                Some(_) => None,
                None => Some(id.parse().unwrap_or_else(|_| panic!("a number: {head}"))),
            },
            name: name.to_owned(),
            interpreter: interpreter
                .strip_prefix(" in interpreter ")
                .map(|number| number.parse().unwrap()),
            state: state.to_owned(),
            frames: Vec::new(),
            merged: Vec::new(),
            remark: None,
        };
        for line in lines {
            let line = line.strip_prefix("    ");
            let line = line.unwrap_or_else(|| panic!("an indented line in {block}"));
            if line.starts_with('(') {
                thread.remark = Some(line.to_owned());
            } else {
                let frame = Frame::parse(line);
                thread.frames.extend(frame.python());
                thread.merged.push(frame);
            }
        }
        thread
    }
}

impl Frame {
    /// `name (file:line)`, `name (libz.so.1)`, `libz.so.1+0x1230`; what was
    /// inlined says so behind it.
    fn parse(line: &str) -> Self {
        let line = line.strip_suffix(" inlined").unwrap_or(line);
        // Names of C++ have brackets too, places have none.
        let parts = line
            .strip_suffix(')')
            .and_then(|line| line.rsplit_once(" ("));
        let Some((name, place)) = parts else {
            return Self {
                name: line.to_owned(),
                place: None,
                line: None,
            };
        };
        let numbered = place.rsplit_once(':');
        let numbered = numbered.and_then(|(file, line)| Some((file, line.parse().ok()?)));
        Self {
            name: name.to_owned(),
            place: Some(numbered.map_or(place, |(file, _)| file).to_owned()),
            line: numbered.map(|(_, line)| line),
        }
    }

    /// It as a frame of Python, if it is one: every program of these tests has
    /// a name that ends so, and nothing else has.
    pub(crate) fn python(&self) -> Option<TrueFrame> {
        let file = self.place.as_ref()?;
        (file.ends_with(".py") || file.starts_with('<')).then(|| TrueFrame {
            name: self.name.clone(),
            file: file.clone(),
            line: self.line.unwrap_or_else(|| panic!("a line: {self:?}")),
        })
    }
}
