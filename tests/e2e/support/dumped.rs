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
    pub(crate) python: String,
    pub(crate) threads: Vec<Thread>,
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
            python: python.strip_prefix("Python ").unwrap().to_owned(),
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
            remark: None,
        };
        for line in lines {
            let line = line.strip_prefix("    ");
            let line = line.unwrap_or_else(|| panic!("an indented line in {block}"));
            if line.starts_with('(') {
                thread.remark = Some(line.to_owned());
            } else {
                thread.frames.push(frame(line));
            }
        }
        thread
    }
}

/// `name (file:line)`
fn frame(line: &str) -> TrueFrame {
    let parts = line.strip_suffix(')').and_then(|line| {
        let (name, place) = line.split_once(" (")?;
        let (file, number) = place.rsplit_once(':')?;
        Some((name, file, number.parse().ok()?))
    });
    let (name, file, line) = parts.unwrap_or_else(|| panic!("name (file:line): {line}"));
    TrueFrame {
        name: name.to_owned(),
        file: file.to_owned(),
        line,
    }
}
