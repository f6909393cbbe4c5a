use std::time::{Duration, Instant};

use firefinch_process::{Near, Thread, Tid};

use crate::clock::Clock;
use crate::member::Member;
use crate::members::Members;

/// Where whoever samples sleeps between ticks: if that is wanted, on the CPU of a thread that
/// runs.
///
/// A stack that is read while it changes is proved to have been; but what is called for a
/// microsecond only may be found more or less often than it is there, as where a stack has
/// its newest frame is read before that frame is. Read from its own CPU a thread stands
/// still from the tick on. It loses what a look takes, so that this is for looks that are
/// rare ([`MAX_NEAR`](crate::MAX_NEAR)), and short.
#[derive(Debug)]
pub(crate) struct Nearness {
    near: Option<Near>,
    guard: Guard,
    /// For how many ticks nobody has run.
    idle: u32,
    /// Where which thread is was asked for then.
    asked: Option<(Tid, Instant)>,
    /// For how many ticks it is found out before who runs now.
    scouts: u32,
}

/// Who waits now and then comes back to where it was.
const PATIENCE: u32 = 16;
/// A thread that runs is seldom moved, and to ask is a good part of a look.
const TRUST: Duration = Duration::from_millis(35);
/// How long before a tick we get up to find out who runs: that takes half of it. Hardly any
/// thread hands the GIL on in so short a time.
const AHEAD: Duration = Duration::from_micros(150);
/// For how many ticks that is done after one for which another thread ran, elsewhere, than at
/// the tick before.
const SCOUTS: u32 = 64;

impl Nearness {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self {
            near: is_wanted.then(Near::new),
            guard: Guard::default(),
            idle: 0,
            asked: None,
            scouts: 0,
        }
    }

    /// Where threads take turns, as those that share a GIL do, whoever ran at the last tick
    /// may wait now: goes to who runs shortly before the next one, and leaves it to that to
    /// say when. `None` when a signal woke us.
    pub(crate) fn scout(
        &mut self,
        clock: &Clock,
        end: Option<Duration>,
        members: &mut Members,
    ) -> Option<()> {
        if self.scouts == 0 || !members.present().any(Member::has_locks) {
            return Some(());
        }
        clock.doze(AHEAD, end)?;
        match members.present_mut().find_map(Member::lock_holder) {
            Some(thread) => {
                self.scouts -= 1;
                self.go(thread);
            }
            None => self.scouts /= 2,
        }
        Some(())
    }

    /// To where a thread is that has run at this tick: the next one begins there. This one
    /// came so late, and took so long.
    pub(crate) fn follow(&mut self, members: &Members, late: Duration, took: Duration) {
        if self.near.is_none() {
            return;
        }
        let is_alone = members.present().nth(1).is_none();
        let long = if is_alone { LONG_ALONE } else { LONG };
        if !self.guard.allows(late, took, long) {
            self.leave();
        } else if let Some(thread) = members.present().find_map(Member::busy_thread) {
            self.idle = 0;
            self.go(thread);
        } else {
            self.idle = self.idle.saturating_add(1);
            if self.idle == PATIENCE {
                self.leave();
            }
        }
    }

    /// To where that thread is, unless we are there.
    fn go(&mut self, thread: &Thread) {
        let (tid, now) = (thread.tid(), Instant::now());
        let knows = |(asked, at): &(Tid, Instant)| *asked == tid && now < *at + TRUST;
        if self.asked.as_ref().is_some_and(knows) {
            return;
        }
        let is_other = self.asked.is_some_and(|(asked, _)| asked != tid);
        if let Some(near) = &mut self.near
            && near.follow(thread)
            && is_other
        {
            self.scouts = SCOUTS;
        }
        self.asked = Some((tid, now));
    }

    /// To wherever the scheduler likes, until a thread has run again.
    pub(crate) fn leave(&mut self) {
        self.asked = None;
        self.scouts = 0;
        if let Some(near) = &mut self.near {
            near.leave();
        }
    }
}

/// Says where it would do harm to be near: where ticks take long, as those of many processes
/// do, one of which would pay for all; and where they come late, as from kernels that let
/// threads run on whose turn is not over, for then the thread that is looked at says when.
#[derive(Debug, Default)]
struct Guard {
    /// The mean of the last ticks.
    late: Duration,
    took: Duration,
    /// Ticks left until it is tried again, and since then.
    rests: u32,
    good: u32,
    /// How often it was in vain of late.
    failures: u32,
}

/// More than that, on average, is too late, or too long. A process that is alone pays for
/// nobody else; and stacks that are new take long to tell, the longer the more of them have
/// changed while they were read.
const LATE: Duration = Duration::from_micros(200);
const LONG: Duration = Duration::from_micros(500);
const LONG_ALONE: Duration = Duration::from_micros(1500);
/// A single tick counts for so many times that at most: one in twenty is late where all is
/// well. And how many ticks the average is of.
const MOST: u32 = 3;
const TICKS: u32 = 16;
/// For how many ticks it is left, and how often that is doubled.
const REST: u32 = 16;
const MOST_FAILURES: u32 = 6;

impl Guard {
    fn allows(&mut self, late: Duration, took: Duration, long: Duration) -> bool {
        if self.rests > 0 {
            self.rests -= 1;
            return self.rests == 0;
        }
        let both = [(&mut self.late, late, LATE), (&mut self.took, took, long)];
        for (mean, value, limit) in both {
            *mean = *mean - *mean / TICKS + value.min(limit * MOST) / TICKS;
        }
        if self.late <= LATE && self.took <= long {
            self.good += 1;
            if self.good >= REST << self.failures {
                self.good = 0;
                self.failures = self.failures.saturating_sub(1);
            }
            return true;
        }
        self.rests = REST << self.failures;
        self.failures = (self.failures + 1).min(MOST_FAILURES);
        self.good = 0;
        // One more such tick is one too many, and one that is not will do.
        (self.late, self.took) = (self.late.min(LATE), self.took.min(long));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(100);
    const SOME: Duration = Duration::from_micros(600);

    /// How many ticks of a thousand are near.
    fn near(guard: &mut Guard, late: Duration, took: Duration) -> usize {
        (0..1000).filter(|_| guard.allows(late, took, LONG)).count()
    }

    /// Ticks that are short and come in time are near, but for a few long ones now and then; where many are long, or late, hardly any is, until they are not any more.
    #[test]
    fn not_where_it_harms() {
        let mut guard = Guard::default();
        assert_eq!(near(&mut guard, SHORT, SHORT), 1000);
        for _ in 0..100 {
            for tick in 0..20 {
                let one = if tick == 0 { LONG * 10 } else { SHORT };
                assert!(guard.allows(one, one, LONG));
            }
        }
        for (late, took) in [(SHORT, SOME), (SOME, SHORT)] {
            assert!(near(&mut guard, late, took) < 100);
            assert!(near(&mut guard, late, took) < 20);
            let tries: usize = (0..10).map(|_| near(&mut guard, SHORT, SHORT)).sum();
            assert!(tries > 5000, "{tries}");
            assert_eq!(near(&mut guard, SHORT, SHORT), 1000);
        }
    }
}
