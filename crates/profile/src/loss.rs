use std::fmt;

/// Why a thread that was due gave no sample at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossReason {
    /// The stack changed while it was read, and no retry was coherent.
    Torn,
    /// Memory that the stack needs could not be read.
    Unreadable,
    /// The thread ended while it was looked at.
    ThreadGone,
    /// The thread is known to the interpreter but stands in no frame.
    NoFrames,
    /// The stack has more frames than any sane program's.
    TooDeep,
    /// What was read contradicts itself.
    BadData,
    /// The thread could not be stopped for the read.
    StopFailed,
    /// The system refused the read.
    Denied,
    /// The interpreter is starting, ending, or being replaced by exec.
    NotReady,
    /// None of the above.
    Other,
}

impl LossReason {
    /// Every reason, in the order they are reported.
    pub const ALL: [Self; 10] = [
        Self::Torn,
        Self::Unreadable,
        Self::ThreadGone,
        Self::NoFrames,
        Self::TooDeep,
        Self::BadData,
        Self::StopFailed,
        Self::Denied,
        Self::NotReady,
        Self::Other,
    ];

    /// The reason in one or two words, for a list of counts.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Unreadable => "unreadable",
            Self::ThreadGone => "thread gone",
            Self::NoFrames => "no frames",
            Self::TooDeep => "too deep",
            Self::BadData => "bad data",
            Self::StopFailed => "not stopped",
            Self::Denied => "denied",
            Self::NotReady => "not ready",
            Self::Other => "other",
        }
    }

    /// The reason in words that complete “lost because …”.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Torn => "the stack changed while it was read",
            Self::Unreadable => "memory of the stack could not be read",
            Self::ThreadGone => "the thread ended",
            Self::NoFrames => "the thread stood in no frame",
            Self::TooDeep => "the stack was too deep",
            Self::BadData => "the data contradicted itself",
            Self::StopFailed => "the thread could not be stopped",
            Self::Denied => "the system refused the read",
            Self::NotReady => "the interpreter was starting or ending",
            Self::Other => "of another fault",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many samples were lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    counts: [u64; LossReason::ALL.len()],
}

impl Losses {
    /// Counts `n` more samples as lost.
    pub fn add(&mut self, reason: LossReason, n: u64) {
        let count = &mut self.counts[reason as usize];
        *count = count.saturating_add(n);
    }

    /// How many were lost for this reason.
    pub const fn get(&self, reason: LossReason) -> u64 {
        self.counts[reason as usize]
    }

    /// How many were lost in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |a, n| a.saturating_add(*n))
    }

    /// The reasons that occurred, the most frequent first.
    pub fn by_count(&self) -> Vec<(LossReason, u64)> {
        let mut found: Vec<_> = LossReason::ALL
            .into_iter()
            .map(|reason| (reason, self.get(reason)))
            .filter(|(_, n)| *n > 0)
            .collect();
        found.sort_by_key(|(reason, n)| (std::cmp::Reverse(*n), *reason));
        found
    }
}
