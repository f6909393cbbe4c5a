use firefinch_profile::{LossReason, Losses, Profile, ThreadState};

/// Sums over some time: of a slice, of the recent ones, of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    /// The time that the ticks stand for, with those that were missed.
    pub(super) wall_ns: u64,
    /// The time of threads that ran, summed over threads.
    pub(super) running_ns: u64,
    /// … that waited for the interpreter's lock.
    pub(super) gil_wait_ns: u64,
    /// … that held it.
    pub(super) gil_ns: u64,
    /// What this process has used of processors.
    pub(super) own_cpu_ns: u64,
    pub(super) samples: u64,
    pub(super) missed: u64,
    pub(super) losses: Losses,
}

impl Totals {
    /// Those of a profile; what profiling cost is not known to it.
    pub(super) fn of(profile: &Profile, own_cpu_ns: u64) -> Self {
        let ticks = profile.ticks().saturating_add(profile.missed());
        let mut totals = Self {
            wall_ns: ticks.saturating_mul(profile.meta.interval_ns.get()),
            own_cpu_ns,
            samples: profile.sample_count(),
            missed: profile.missed(),
            losses: *profile.losses(),
            ..Self::default()
        };
        for run in profile.samples().flat_map(|(_, runs)| runs) {
            let sum = match run.state {
                ThreadState::Running | ThreadState::Unknown => Some(&mut totals.running_ns),
                ThreadState::WaitingForGil => Some(&mut totals.gil_wait_ns),
                ThreadState::Waiting(_) => None,
            };
            if let Some(sum) = sum {
                *sum = sum.saturating_add(run.weight_ns);
            }
            if run.holds_gil {
                totals.gil_ns = totals.gil_ns.saturating_add(run.weight_ns);
            }
        }
        totals
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.wall_ns, other.wall_ns),
            (&mut self.running_ns, other.running_ns),
            (&mut self.gil_wait_ns, other.gil_wait_ns),
            (&mut self.gil_ns, other.gil_ns),
            (&mut self.own_cpu_ns, other.own_cpu_ns),
            (&mut self.samples, other.samples),
            (&mut self.missed, other.missed),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (reason, count) in other.losses.by_count() {
            self.losses.add(reason, count);
        }
    }

    /// The most frequent reason for a loss.
    pub(super) fn main_loss(&self) -> Option<(LossReason, u64)> {
        self.losses.by_count().first().copied()
    }

    /// A time as a share of the time that passed: 1 for one thread all the time.
    pub(super) fn share(&self, ns: u64) -> f64 {
        match self.wall_ns {
            0 => 0.0,
            wall => ns as f64 / wall as f64,
        }
    }
}
