/// What became of the processes of a tree, each counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All that were met.
    pub met: u64,
    /// … that were sampled, or could have been.
    pub sampled: u64,
    /// … in which nothing ran Python, and native stacks were not asked for.
    pub not_python: u64,
    /// … that could not be attached to.
    pub refused: u64,
    /// … that had ended before it was known what they were.
    pub brief: u64,
    /// Why one could not be attached to.
    pub refusal: Option<String>,
    /// So many at a time were left alone because there were too many.
    pub beyond: u64,
    /// Those that live, the last time that was looked at.
    pub alive: u64,
    /// Nobody looks for processes any more, by a defect of ours: there may be some
    /// that were not met.
    pub is_partial: bool,
}

/// What is known of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    #[default]
    Unknown,
    Sampled,
    NotPython,
    Refused(String),
}

impl Census {
    /// Counts one that has been met and will have no other verdict any more, or
    /// has this one now.
    pub(super) fn count(&mut self, verdict: &Verdict, lives: bool) {
        self.met += 1;
        self.alive += u64::from(lives);
        match verdict {
            Verdict::Unknown => self.brief += u64::from(!lives),
            Verdict::Sampled => self.sampled += 1,
            Verdict::NotPython => self.not_python += 1,
            Verdict::Refused(why) => {
                self.refused += 1;
                self.refusal.get_or_insert_with(|| why.clone());
            }
        }
    }
}
