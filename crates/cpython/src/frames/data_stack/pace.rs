use std::time::{Duration, Instant};

/// How long a look at a thread's stack usually takes, to tell one in which we
/// were held up: the processor went to somebody else, an interrupt came. The
/// pieces of such a copy may be milliseconds apart, so that it joins moments
/// between which the thread has been everywhere, and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    usual: Duration,
    /// What a look at two frames takes at best.
    best: Duration,
}

/// How long a look took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speed {
    /// No longer than usual.
    Prompt,
    /// Longer, as the first look after a pause does, for which more has to be
    /// fetched from the target's processor the more the target did meanwhile:
    /// refusing it would prefer what does little.
    Slow,
    /// So long that something else had the processor.
    HeldUp,
}

/// A look that takes longer than twice what is usual by this was held up: less
/// than it takes to be switched out and in again on a busy processor.
const PATIENCE: Duration = Duration::from_micros(15);
/// Before the first look; what it costs on a slow machine.
const FIRST: Duration = Duration::from_micros(20);
/// Longer than half of what is usual by no more than this is no hold-up: less
/// than it takes to switch to another thread and back.
const TOLERANCE: Duration = Duration::from_micros(3);
/// The weight of one look in what is usual: one part in so many.
const WEIGHT: u32 = 8;

/// The best time is forgotten by one part in so many with each look.
const FORGET: u32 = 64;
/// What is as short as it can be may be longer than the best by a quarter and this.
const SLACK: Duration = Duration::from_nanos(200);

impl Default for Pace {
    fn default() -> Self {
        Self {
            usual: FIRST,
            best: FIRST,
        }
    }
}

impl Pace {
    /// Takes in how long a look took.
    pub(super) fn take(&mut self, taken: Duration) -> Speed {
        let speed = if taken <= self.limit() {
            Speed::Prompt
        } else if taken <= self.usual * 2 + PATIENCE {
            Speed::Slow
        } else {
            Speed::HeldUp
        };
        // A hold-up of any length counts as a look twice as long as usual.
        let counted = taken.min(self.usual * 2);
        self.usual = (self.usual * (WEIGHT - 1) + counted) / WEIGHT;
        speed
    }

    /// Takes in how long a look at two frames took; whether that is as short
    /// as it can be.
    pub(super) fn take_proof(&mut self, taken: Duration) -> bool {
        self.best = taken.min(self.best + self.best / FORGET);
        taken <= self.best + self.best / 4 + SLACK
    }

    /// Whether what was begun then, a look and a small read, was not held up.
    pub(super) fn is_prompt(&self, since: Instant) -> bool {
        since.elapsed() <= self.limit() + self.usual
    }

    fn limit(&self) -> Duration {
        self.usual + self.usual / 2 + TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hold-up is told from a machine that is slower than thought: the one is
    /// refused however often it comes, the other is got used to.
    #[test]
    fn only_what_is_unusual_is_refused() {
        let us = Duration::from_micros;
        let mut pace = Pace::default();
        let prompt = |speed| speed == Speed::Prompt;
        (0..50).for_each(|_| assert!(prompt(pace.take(us(3)))));
        for _ in 0..100 {
            assert_eq!(pace.take(us(4_000)), Speed::HeldUp);
            (0..10).for_each(|_| assert!(prompt(pace.take(us(3)))));
        }
        assert_eq!(pace.take(us(12)), Speed::Slow);
        let refused = (0..50).filter(|_| !prompt(pace.take(us(300)))).count();
        assert!((5..45).contains(&refused), "{refused}");
        assert!(prompt(pace.take(us(300))));
    }
}
