use firefinch_cpython::Leaf;
use firefinch_profile::{LossReason, Profile, Sample, ThreadState};
use hashbrown::HashMap;

/// What came of one look at a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    Sample(Sample),
    /// It weighs so much, and waits for a stack that ends like this.
    Deferred(Leaf, u64),
    /// It weighs so much, and is the stack of this number, which waits to be believed.
    Unproved(Number, u64),
}

/// The number of a stack that waits to be believed.
pub(crate) type Number = u64;

impl Look {
    pub(crate) fn weight_ns(&mut self) -> &mut u64 {
        match self {
            Self::Sample(sample) => &mut sample.weight_ns,
            Self::Deferred(_, weight_ns) | Self::Unproved(_, weight_ns) => weight_ns,
        }
    }

    /// Whether the thread ran.
    pub(crate) fn runs(&self) -> bool {
        match self {
            Self::Sample(sample) => {
                matches!(sample.state, ThreadState::Running | ThreadState::Unknown)
            }
            // What stands still is followed.
            Self::Deferred(..) | Self::Unproved(..) => true,
        }
    }
}

/// The looks at one thread that found its newest frame, and not who had called that: each
/// waits for the next stack that ends in the same frame, which stands for it too, as a
/// sample stands for the ticks missed before it. For what still waits in the end that is the
/// last one that did.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    leaves: HashMap<Leaf, Waiting>,
    /// What stacks weigh that wait to be believed.
    weights: Vec<(Number, u64)>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What each look weighs.
    looks: Vec<u64>,
    /// The last sample that ended like this.
    last: Option<Sample>,
}

/// Remembered before starting anew.
const MAX_LEAVES: usize = 1 << 13;

impl Deferred {
    /// Enters a look, or has it wait.
    pub(crate) fn take(&mut self, look: Look, profile: &mut Profile) {
        match look {
            Look::Sample(sample) => profile.add_sample(sample),
            Look::Deferred(leaf, weight_ns) => {
                self.leaves.entry(leaf).or_default().looks.push(weight_ns);
            }
            Look::Unproved(number, weight_ns) => self.weights.push((number, weight_ns)),
        }
    }

    /// Enters the looks that have waited for this sample, which ends like that.
    pub(crate) fn shown(&mut self, leaf: Leaf, sample: Sample, profile: &mut Profile) {
        if self.leaves.len() >= MAX_LEAVES {
            self.end(profile);
        }
        for leaf in [leaf, leaf.of_any_code()] {
            let waiting = self.leaves.entry(leaf).or_default();
            waiting.last = Some(sample);
            waiting.enter(profile);
        }
    }

    /// Hands over what stacks weigh that wait to be believed.
    pub(crate) fn weights(&mut self) -> impl Iterator<Item = (Number, u64)> {
        self.weights.drain(..)
    }

    /// No stack comes any more.
    pub(crate) fn end(&mut self, profile: &mut Profile) {
        for (_, mut waiting) in self.leaves.drain() {
            waiting.enter(profile);
            profile.lose(LossReason::Torn, waiting.looks.len() as u64);
        }
    }

    /// Another profile comes, which does not know the samples of this one.
    pub(crate) fn forget_samples(&mut self) {
        self.leaves.retain(|_, waiting| {
            waiting.last = None;
            !waiting.looks.is_empty()
        });
    }
}

impl Waiting {
    fn enter(&mut self, profile: &mut Profile) {
        if let Some(last) = self.last {
            for weight_ns in self.looks.drain(..) {
                profile.add_sample(Sample { weight_ns, ..last });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::SystemTime;

    use firefinch_memory::RemoteAddr;
    use firefinch_profile::{Frame, FrameKind, Meta, Process, StackId, Thread};

    use super::*;

    fn leaf(place: u64, code: u64) -> Leaf {
        Leaf {
            addr: RemoteAddr::new(place),
            end: RemoteAddr::new(place + 0x80),
            code: RemoteAddr::new(code),
        }
    }

    /// A look goes to the next sample that ends in its frame, with its own weight; in the
    /// end to the last that did, and where there was none it is lost. Samples of another
    /// profile are none.
    #[test]
    fn looks_go_to_the_next_of_their_frame() {
        let meta = || Meta::at_rate(NonZeroU32::new(100).unwrap(), SystemTime::UNIX_EPOCH);
        let mut profile = Profile::new(meta());
        let process = profile.add_process(Process {
            pid: 1,
            name: String::new(),
        });
        let thread = profile.add_thread(Thread {
            process,
            tid: 1,
            name: String::new(),
        });
        let stacks = ["a", "b"].map(|name| {
            let name = profile.intern_string(name);
            let frame = profile.intern_frame(Frame::new(name, FrameKind::Python));
            profile.intern_stack(None, frame)
        });
        let sample = |stack: StackId| Sample {
            time_ns: 5,
            thread,
            stack,
            weight_ns: 7,
            state: ThreadState::Running,
            holds_gil: false,
        };
        let (a, b) = (leaf(0x300, 1), leaf(0x300, 2));
        let mut deferred = Deferred::default();
        let looks = |deferred: &mut Deferred, profile: &mut Profile| {
            for (leaf, weight) in [(a, 10), (a.of_any_code(), 20), (leaf(0x200, 1), 30)] {
                deferred.take(Look::Deferred(leaf, weight), profile);
            }
        };
        let weight = |profile: &Profile, stack| -> u64 {
            let runs = profile.runs(thread).iter();
            runs.filter(|run| run.stack == stack)
                .map(|run| run.weight_ns)
                .sum()
        };
        looks(&mut deferred, &mut profile);
        deferred.shown(b, sample(stacks[1]), &mut profile);
        assert_eq!([0, 1].map(|at| weight(&profile, stacks[at])), [0, 20]);
        deferred.shown(a, sample(stacks[0]), &mut profile);
        assert_eq!([0, 1].map(|at| weight(&profile, stacks[at])), [10, 20]);
        looks(&mut deferred, &mut profile);
        assert_eq!(profile.losses().total(), 0);
        deferred.end(&mut profile);
        assert_eq!([0, 1].map(|at| weight(&profile, stacks[at])), [40, 20]);
        assert_eq!(profile.losses().total(), 2);
        deferred.shown(a, sample(stacks[0]), &mut profile);
        looks(&mut deferred, &mut profile);
        deferred.forget_samples();
        let mut next = Profile::new(meta());
        deferred.end(&mut next);
        assert_eq!((next.sample_count(), next.losses().total()), (0, 3));
    }
}
