use crate::{StackId, StringId, ThreadId};

/// What a thread was doing when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// Executing, or ready to and waiting for a processor: from outside, the
    /// kernel does not tell one from the other at a moment. The time on a
    /// processor is known, see [`Meta::cpu_time`](crate::Meta::cpu_time).
    Running,
    /// Waiting for the interpreter's lock.
    WaitingForGil,
    /// Waiting in a system call of this name, if the name is known.
    Waiting(Option<StringId>),
    /// Not known.
    Unknown,
}

/// One look at one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, in nanoseconds since the start of the recording.
    pub time_ns: u64,
    /// The thread.
    pub thread: ThreadId,
    /// Its stack.
    pub stack: StackId,
    /// The time this sample stands for, in nanoseconds: the interval of its
    /// tick with those missed before it, or processor time.
    pub weight_ns: u64,
    /// What the thread was doing.
    pub state: ThreadState,
    /// Whether it held the interpreter's lock.
    pub holds_gil: bool,
}

/// Consecutive samples of one thread that differ in nothing but their time.
///
/// Between the first and the last of them samples may have been lost; the
/// count and the weight are those of the samples that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When the first of them was taken, in nanoseconds since the start.
    pub first_ns: u64,
    /// When the last of them was taken, in nanoseconds since the start.
    pub last_ns: u64,
    /// The time all of them stand for, in nanoseconds.
    pub weight_ns: u64,
    /// How many they are.
    pub count: u64,
    /// The stack.
    pub stack: StackId,
    /// What the thread was doing.
    pub state: ThreadState,
    /// Whether it held the interpreter's lock.
    pub holds_gil: bool,
}

impl Run {
    /// The run of one sample.
    pub(crate) fn new(sample: &Sample) -> Self {
        Self {
            first_ns: sample.time_ns,
            last_ns: sample.time_ns,
            weight_ns: sample.weight_ns,
            count: 1,
            stack: sample.stack,
            state: sample.state,
            holds_gil: sample.holds_gil,
        }
    }

    /// Takes the sample in if it is like those of the run; says whether it did.
    pub(crate) fn extend(&mut self, sample: &Sample) -> bool {
        let same = (self.stack, self.state, self.holds_gil)
            == (sample.stack, sample.state, sample.holds_gil);
        if same {
            self.last_ns = self.last_ns.max(sample.time_ns);
            self.weight_ns = self.weight_ns.saturating_add(sample.weight_ns);
            self.count = self.count.saturating_add(1);
        }
        same
    }
}
