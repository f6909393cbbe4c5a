use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// Absolute deadlines at a fixed interval on the monotonic clock.
///
/// A tick that comes late is one tick: the deadlines that passed meanwhile are
/// counted as missed and not replayed, and the next deadline is the next one
/// of the original grid, so the rate does not drift.
#[derive(Debug)]
pub(crate) struct Clock {
    interval: Duration,
    start: Duration,
    /// The time of the last tick.
    last: Duration,
    /// The next deadline.
    next: Duration,
}

/// One tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it came, since the start.
    pub time: Duration,
    /// What passed since the tick before, or since the start.
    pub passed: Duration,
    /// Deadlines that went by unused before it.
    pub missed: u64,
}

fn now() -> Duration {
    // The monotonic clock always exists on Linux.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// The processor time that this process has used so far.
pub fn own_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Clock {
    /// The first tick is due at once.
    pub(crate) fn start(interval: Duration) -> Self {
        let start = now();
        Self {
            interval,
            start,
            last: start,
            next: start,
        }
    }

    /// What has passed since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_sub(self.start)
    }

    /// Sleeps until the next deadline, or until `end` (since the start) if
    /// that comes first. `None` when a signal woke us or the end was reached.
    pub(crate) fn tick(&mut self, end: Option<Duration>) -> Option<Tick> {
        let end = end.map(|end| self.start + end);
        let deadline = end.map_or(self.next, |end| end.min(self.next));
        if deadline > now() {
            let flags = ClockNanosleepFlags::TIMER_ABSTIME;
            let until = TimeSpec::from_duration(deadline);
            clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until).ok()?;
        }
        if end.is_some_and(|end| now() >= end) {
            return None;
        }
        Some(self.at(now()))
    }

    /// The deadlines that have passed unused when a recording of the length
    /// `end`, or of any length, is over: the sleep for the last one may have
    /// lasted beyond them.
    pub(crate) fn unused(&self, end: Option<Duration>) -> u64 {
        let over = end.map_or_else(now, |end| now().min(self.start + end));
        self.unused_at(over)
    }

    fn unused_at(&self, over: Duration) -> u64 {
        let late = over.saturating_sub(self.next).as_nanos();
        let unused = late.div_ceil(self.interval.as_nanos().max(1));
        u64::try_from(unused).unwrap_or(u64::MAX)
    }

    /// The tick that comes at `now`.
    fn at(&mut self, now: Duration) -> Tick {
        let late = now.saturating_sub(self.next).as_nanos();
        let missed = late / self.interval.as_nanos().max(1);
        let steps = u32::try_from(missed + 1).unwrap_or(u32::MAX);
        self.next += self.interval.saturating_mul(steps);
        let tick = Tick {
            time: now.saturating_sub(self.start),
            passed: now.saturating_sub(self.last),
            missed: u64::from(steps - 1),
        };
        self.last = now;
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Late ticks count what they missed, and later ones keep to the grid.
    #[test]
    fn late_ticks_are_missed_not_replayed() {
        let ms = Duration::from_millis;
        let mut clock = Clock {
            interval: ms(10),
            start: ms(1_000),
            last: ms(1_000),
            next: ms(1_000),
        };
        let first = clock.at(ms(1_000));
        assert_eq!((first.missed, first.passed), (0, ms(0)));
        let late = clock.at(ms(1_034));
        assert_eq!((late.missed, late.passed), (2, ms(34)));
        assert_eq!(clock.next, ms(1_040));
        let on_time = clock.at(ms(1_041));
        assert_eq!((on_time.missed, on_time.passed), (0, ms(7)));
        assert_eq!(clock.next, ms(1_050));
        // Over before, at, just behind and long behind the next deadline.
        let unused = [1_041, 1_050, 1_051, 1_081].map(|over| clock.unused_at(ms(over)));
        assert_eq!(unused, [0, 0, 1, 4]);
    }
}
