/// Collapsed stacks: what was sampled, with its counts.
#[derive(Debug)]
pub(crate) struct Collapsed {
    /// The frames, oldest first, and how many ticks they stood.
    pub(crate) stacks: Vec<(Vec<String>, u64)>,
}

impl Collapsed {
    /// Reads all of it: a line that is no stack fails the test.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let stack = |line: &str| {
            let (frames, count) = line.rsplit_once(' ').expect("a stack and its count");
            let frames = frames.split(';').map(str::to_owned).collect();
            (frames, count.parse().expect("a count"))
        };
        Self {
            stacks: text.lines().map(stack).collect(),
        }
    }

    /// All ticks.
    pub(crate) fn total(&self) -> u64 {
        self.count(|_| true)
    }

    /// The ticks of the stacks that are wanted.
    pub(crate) fn count(&self, wanted: impl Fn(&[String]) -> bool) -> u64 {
        let wanted = self.stacks.iter().filter(|(frames, _)| wanted(frames));
        wanted.map(|(_, count)| count).sum()
    }

    /// The ticks of the stacks with this function in them, whatever its line.
    pub(crate) fn count_of(&self, function: &str) -> u64 {
        let start = format!("{function} (");
        self.count(|frames| frames.iter().any(|frame| frame.starts_with(&start)))
    }
}
