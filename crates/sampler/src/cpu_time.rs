use firefinch_profile::Profile;

use crate::deferred::{Deferred, Look};

/// The processor time of one thread, shared out among its samples.
///
/// The kernel says how long a thread has been on a CPU, not when. So what it
/// has used between two looks is shared between what was seen at both: each
/// has half, unless the thread waited at one of them; then the other has all.
/// If it waited at both, the time goes to the later: there it came from, or is
/// on its way to. (With all of it for the later look, a look that comes late
/// after the one before would count for more, which random ticks do not allow.)
///
/// The figure of a running thread advances at scheduler ticks only, every 1 to
/// 10 ms. Looks in between wait here until it has, and share what it was.
#[derive(Debug, Default)]
pub(crate) struct CpuTime {
    /// The kernel's figure at the last look.
    last_ns: Option<u64>,
    /// What no sample has got yet.
    owed_ns: u64,
    /// The looks since the figure last advanced, and the one at which it did.
    waiting: Vec<Look>,
}

/// More looks than are taken between two scheduler ticks.
const MOST: usize = 1 << 14;

impl CpuTime {
    /// Takes note of the kernel's figure; what was used before the first time
    /// is no concern of ours.
    pub(crate) fn used(&mut self, run_ns: u64) {
        let last = self.last_ns.replace(run_ns).unwrap_or(run_ns);
        self.owed_ns = self.owed_ns.saturating_add(run_ns.saturating_sub(last));
    }

    /// Whether a look at a thread that waits is of use: it has used time since
    /// the last one, or waits since then.
    pub(crate) fn wants(&self) -> bool {
        self.owed_ns > 0 || self.waiting.last().is_some_and(Look::runs)
    }

    /// Drops the time since the last look: this one is not wanted.
    pub(crate) fn forgo(&mut self, deferred: &mut Deferred, profile: &mut Profile) {
        self.owed_ns = 0;
        self.flush(deferred, profile);
    }

    /// Takes a look into account; its weight is found here.
    pub(crate) fn add(&mut self, mut look: Look, deferred: &mut Deferred, profile: &mut Profile) {
        // The figure of a thread that waits is up to date: nothing is to come.
        if self.waiting.len() >= MOST || (self.owed_ns == 0 && !look.runs()) {
            self.flush(deferred, profile);
        }
        *look.weight_ns() = 0;
        self.waiting.push(look);
        if self.owed_ns == 0 {
            return;
        }
        self.share_out();
        let present = self.waiting.pop();
        self.flush(deferred, profile);
        self.waiting.extend(present);
    }

    /// Shares what is owed equally among the gaps between looks.
    fn share_out(&mut self) {
        let owed = u128::from(std::mem::take(&mut self.owed_ns));
        let gaps = self.waiting.len() - 1;
        if gaps == 0 {
            let weight_ns = u64::try_from(owed).unwrap_or(u64::MAX);
            self.waiting
                .iter_mut()
                .for_each(|look| *look.weight_ns() = weight_ns);
            return;
        }
        let upto =
            |gap: usize| u64::try_from(owed * gap as u128 / gaps as u128).unwrap_or(u64::MAX);
        for gap in 0..gaps {
            let part = upto(gap + 1) - upto(gap);
            let Some([before, after]) = self.waiting.get_mut(gap..gap + 2) else {
                return;
            };
            let first = match (before.runs(), after.runs()) {
                (true, true) => part / 2,
                (true, false) => part,
                (false, _) => 0,
            };
            *before.weight_ns() += first;
            *after.weight_ns() += part - first;
        }
    }

    /// Hands over what waits; looks that got no time are none.
    pub(crate) fn flush(&mut self, deferred: &mut Deferred, profile: &mut Profile) {
        for mut look in self.waiting.drain(..) {
            // The stack of an unproved one is kept until it is known what that weighs.
            if *look.weight_ns() > 0 || matches!(look, Look::Unproved(..)) {
                deferred.take(look, profile);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::SystemTime;

    use firefinch_profile::{
        Frame, FrameKind, Meta, Process, Sample, StackId, Thread, ThreadId, ThreadState,
    };

    use firefinch_cpython::Leaf;
    use firefinch_memory::RemoteAddr;

    use super::*;

    struct Fixture {
        profile: Profile,
        thread: ThreadId,
        stacks: Vec<StackId>,
        cpu: CpuTime,
        deferred: Deferred,
        time_ns: u64,
    }

    fn fixture() -> Fixture {
        let rate = NonZeroU32::new(100).unwrap();
        let mut profile = Profile::new(Meta::at_rate(rate, SystemTime::UNIX_EPOCH));
        let process = profile.add_process(Process {
            pid: 1,
            name: String::new(),
        });
        let thread = profile.add_thread(Thread {
            process,
            tid: 1,
            name: String::new(),
        });
        let stacks = ["a", "b", "c"].map(|name| {
            let name = profile.intern_string(name);
            let frame = profile.intern_frame(Frame::new(name, FrameKind::Python));
            profile.intern_stack(None, frame)
        });
        Fixture {
            profile,
            thread,
            stacks: stacks.to_vec(),
            cpu: CpuTime::default(),
            deferred: Deferred::default(),
            time_ns: 0,
        }
    }

    impl Fixture {
        fn look(&mut self, run_ns: u64, stack: usize, state: ThreadState) {
            self.time_ns += 1;
            self.cpu.used(run_ns);
            let sample = Sample {
                time_ns: self.time_ns,
                thread: self.thread,
                stack: self.stacks[stack],
                weight_ns: 77,
                state,
                holds_gil: false,
            };
            let look = Look::Sample(sample);
            self.cpu.add(look, &mut self.deferred, &mut self.profile);
        }

        /// The time of each stack.
        fn sums(&mut self) -> Vec<u64> {
            self.cpu.flush(&mut self.deferred, &mut self.profile);
            let of = |stack: &StackId| {
                let runs = self.profile.runs(self.thread).iter();
                runs.filter(|r| r.stack == *stack)
                    .map(|r| r.weight_ns)
                    .sum()
            };
            self.stacks.iter().map(of).collect()
        }
    }

    const RUNS: ThreadState = ThreadState::Running;
    const WAITS: ThreadState = ThreadState::Waiting(None);

    /// Time goes half to the look before and half to the one after, but none
    /// to one at which the thread waited beside one at which it ran.
    #[test]
    fn time_goes_to_what_was_seen_to_run() {
        let mut both_run = fixture();
        both_run.look(1_000, 0, RUNS);
        both_run.look(1_100, 1, RUNS);
        assert_eq!(both_run.sums(), [50, 50, 0]);
        let mut begins = fixture();
        begins.look(1_000, 0, WAITS);
        begins.look(1_100, 1, RUNS);
        begins.look(1_100, 2, WAITS);
        begins.look(1_130, 2, WAITS);
        assert_eq!(begins.sums(), [0, 100, 30]);
        let mut ends = fixture();
        ends.look(1_000, 0, RUNS);
        ends.look(1_100, 1, WAITS);
        ends.look(1_103, 2, WAITS);
        assert_eq!(ends.sums(), [100, 0, 3]);
    }

    /// Looks between two scheduler ticks share what the second brings.
    #[test]
    fn looks_between_scheduler_ticks() {
        let mut f = fixture();
        f.look(0, 0, RUNS);
        for stack in [0, 1, 1, 2] {
            f.look(0, stack, RUNS);
        }
        f.look(4_000, 2, RUNS);
        // Five gaps of 800: halves of the first and last look belong to none.
        assert_eq!(f.sums(), [400 + 800, 1_600, 800 + 400]);
    }

    /// A look that waits for a stack has its share as well, and takes it there.
    #[test]
    fn looks_that_wait() {
        let mut f = fixture();
        let leaf = Leaf {
            addr: RemoteAddr::new(0x300),
            end: RemoteAddr::new(0x380),
            code: RemoteAddr::new(1),
        };
        f.look(0, 0, RUNS);
        f.cpu.used(100);
        let look = Look::Deferred(leaf, 77);
        f.cpu.add(look, &mut f.deferred, &mut f.profile);
        f.look(200, 1, RUNS);
        assert_eq!(f.sums(), [50, 50, 0]);
        let sample = Sample {
            time_ns: 9,
            thread: f.thread,
            stack: f.stacks[2],
            weight_ns: 0,
            state: RUNS,
            holds_gil: false,
        };
        f.deferred.shown(leaf, sample, &mut f.profile);
        assert_eq!(f.sums(), [50, 50, 100]);
    }

    /// Whatever comes, the weights add up to what the kernel counted, and what
    /// is forgone is gone.
    #[test]
    fn nothing_is_lost_or_made() {
        let mut f = fixture();
        let mut random = fastrand::Rng::with_seed(1);
        let mut run_ns = 5;
        f.look(run_ns, 0, WAITS);
        for _ in 0..50_000 {
            run_ns += random.u64(..3) * random.u64(..1_000_003);
            let state = if random.bool() { RUNS } else { WAITS };
            f.look(run_ns, random.usize(..3), state);
        }
        f.look(run_ns + 1, 0, RUNS);
        assert_eq!(f.sums().iter().sum::<u64>(), run_ns + 1 - 5);
        f.cpu.used(run_ns + 500);
        assert!(f.cpu.wants());
        f.cpu.forgo(&mut f.deferred, &mut f.profile);
        f.look(run_ns + 501, 0, RUNS);
        assert_eq!(f.sums().iter().sum::<u64>(), run_ns + 1 - 5 + 1);
    }
}
