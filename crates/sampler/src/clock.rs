use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// One look in each interval of a fixed grid on the monotonic clock, at a
/// random moment of it.
///
/// A program that does the same thing every 10 ms would show one moment of it
/// to a clock that ticks every 10 ms, and no other; a random moment of each
/// interval sees all of it, in proportion. The moment is random in the whole
/// interval, as anything less would leave parts of the program unseen.
///
/// A tick stands for its interval, not for what passed since the one before:
/// that depends on the moment itself, and would count what is seen late in its
/// interval for more. Intervals do not drift, so the ticks stand for all the
/// time there was.
///
/// A tick that comes late is one tick: the intervals that passed meanwhile are
/// counted as missed and not replayed, and it stands for them, too.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Nanoseconds, at least 1.
    interval: u64,
    start: Duration,
    /// The number of the next interval.
    next: u64,
    /// The moment in it.
    due: Duration,
    /// How long after its moment the last tick came.
    late: Duration,
    /// `None` for the beginning of each interval.
    random: Option<Rng>,
}

/// One tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it came, since the start.
    pub time: Duration,
    /// The time that it stands for: its interval, and those missed before it.
    pub stands_for: Duration,
    /// Intervals that went by unused before it.
    pub missed: u64,
}

impl Tick {
    /// A moment that is none, and stands for no time.
    pub(crate) const fn none(time: Duration) -> Self {
        Self {
            time,
            stands_for: Duration::ZERO,
            missed: 0,
        }
    }
}

fn now() -> Duration {
    // The monotonic clock always exists on Linux.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// `None` when a signal woke us.
fn sleep_until(moment: Duration) -> Option<()> {
    if moment > now() {
        let flags = ClockNanosleepFlags::TIMER_ABSTIME;
        let until = TimeSpec::from_duration(moment);
        clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &until).ok()?;
    }
    Some(())
}

/// The processor time that this process has used so far.
pub fn own_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    /// A clock for a recording of this length. One that is shorter than an
    /// interval has its tick all the same.
    ///
    /// Without `jitter` it ticks at the beginning of each interval.
    pub(crate) fn start(interval: Duration, length: Option<Duration>, jitter: bool) -> Self {
        let interval = nanos(interval).max(1);
        Self::start_at(now(), interval, length.map(nanos), jitter.then(Rng::new))
    }

    fn start_at(start: Duration, interval: u64, length: Option<u64>, random: Option<Rng>) -> Self {
        let first = interval.min(length.unwrap_or(interval)).max(1);
        let mut clock = Self {
            interval,
            start,
            next: 0,
            due: start,
            late: Duration::ZERO,
            random,
        };
        let due = clock.moment(first);
        clock.due += Duration::from_nanos(due);
        clock
    }

    /// What has passed since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        now().saturating_sub(self.start)
    }

    /// When the next tick is due.
    pub(crate) fn next_tick(&self) -> Instant {
        Instant::now() + self.due.saturating_sub(now())
    }

    /// Sleeps until so long before the next tick, or until `end` (since the start). `None` when
    /// a signal woke us.
    pub(crate) fn doze(&self, before: Duration, end: Option<Duration>) -> Option<()> {
        let end = end.and_then(|end| self.start.checked_add(end));
        let until = self.due.saturating_sub(before);
        sleep_until(end.map_or(until, |end| end.min(until)))
    }

    /// Sleeps until the next tick is due, or until `end` (since the start) if
    /// that comes first. `None` when a signal woke us or the end was reached.
    pub(crate) fn tick(&mut self, end: Option<Duration>) -> Option<Tick> {
        // What is beyond the clock's own end is never reached.
        let end = end.and_then(|end| self.start.checked_add(end));
        let deadline = end.map_or(self.due, |end| end.min(self.due));
        sleep_until(deadline)?;
        let time = now();
        if end.is_some_and(|end| time >= end) {
            return None;
        }
        self.late = time.saturating_sub(self.due);
        Some(self.at(time))
    }

    /// How long after its moment the last tick came.
    pub(crate) fn late(&self) -> Duration {
        self.late
    }

    /// The intervals that have passed unused when a recording of the length
    /// `end`, or of any length, is over: the sleep for the last one may have
    /// lasted beyond them.
    pub(crate) fn unused(&self, end: Option<Duration>) -> u64 {
        let over = end.map_or_else(now, |end| now().min(self.start.saturating_add(end)));
        self.unused_at(over)
    }

    fn unused_at(&self, over: Duration) -> u64 {
        if over <= self.due {
            return 0;
        }
        self.interval_at(over).saturating_sub(self.next).max(1)
    }

    /// The number of the interval that a moment is in.
    fn interval_at(&self, time: Duration) -> u64 {
        nanos(time.saturating_sub(self.start)) / self.interval
    }

    /// The tick that comes at `now`. It serves the interval it was due in; those
    /// after it are missed if their moment has passed as well.
    fn at(&mut self, now: Duration) -> Tick {
        let served = self.next;
        self.plan(self.interval_at(now).max(served.saturating_add(1)));
        if self.due <= now {
            self.plan(self.next.saturating_add(1));
        }
        let missed = self.next - served - 1;
        Tick {
            time: now.saturating_sub(self.start),
            stands_for: Duration::from_nanos(self.interval.saturating_mul(missed + 1)),
            missed,
        }
    }

    /// Chooses the moment of the next tick, in this interval.
    fn plan(&mut self, interval: u64) {
        let begin = interval.saturating_mul(self.interval);
        let due = begin.saturating_add(self.moment(self.interval));
        self.next = interval;
        self.due = self.start + Duration::from_nanos(due);
    }

    /// Chooses one of the first so many nanoseconds of an interval.
    fn moment(&mut self, within: u64) -> u64 {
        self.random
            .as_mut()
            .map_or(0, |random| random.u64(..within))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn clock(seed: u64) -> Clock {
        let start = Duration::from_secs(1);
        Clock::start_at(start, 10 * MS, None, Some(Rng::with_seed(seed)))
    }

    /// Late ticks count what they missed and stand for it, and later ones keep
    /// to the grid.
    #[test]
    fn late_ticks_are_missed_not_replayed() {
        let ms = Duration::from_millis;
        let mut clock = clock(1);
        let grid = |n: u64| ms(1_000 + 10 * n)..ms(1_010 + 10 * n);
        assert!(grid(0).contains(&clock.due));
        let first = clock.at(ms(1_004));
        assert_eq!((first.missed, first.stands_for), (0, ms(10)));
        assert!(grid(1).contains(&clock.due));
        let late = clock.at(ms(1_040) - Duration::from_nanos(1));
        assert_eq!((late.missed, late.stands_for), (2, ms(30)));
        assert!(grid(4).contains(&clock.due));
        let on_time = clock.at(ms(1_041));
        assert_eq!((on_time.missed, on_time.stands_for), (0, ms(10)));
        assert!(grid(5).contains(&clock.due));
        // Behind the end of its interval, but before the next one's moment.
        let mut behind = self::clock(1);
        let tick = behind.at(ms(1_010));
        assert_eq!((tick.missed, tick.stands_for), (0, ms(10)));
        assert!(grid(1).contains(&behind.due));
        // Over before, just behind, behind and long behind the next tick.
        let due = clock.due;
        let overs = [due, due + ms(1).min(ms(1_060) - due), ms(1_061), ms(1_081)];
        assert_eq!(overs.map(|over| clock.unused_at(over)), [0, 1, 1, 3]);
    }

    /// A program whose period is the interval, and which is in phase with the
    /// clock, is seen in true proportion, and so is what it does late in its
    /// period; and after many ticks there is one for each interval, and they
    /// stand for all the time there was.
    #[test]
    fn periodic_programs_are_not_aliased() {
        const TICKS: u64 = 20_000;
        for period in [10 * MS, 5 * MS, 20 * MS] {
            let mut clock = clock(period);
            let (mut early, mut late, mut total) = (0, 0, 0);
            for _ in 0..TICKS {
                let due = clock.due;
                let tick = clock.at(due);
                assert_eq!(tick.missed, 0);
                let weight = nanos(tick.stands_for);
                let phase = nanos(tick.time) % period;
                total += weight;
                early += if phase < period / 10 { weight } else { 0 };
                late += if phase >= period * 7 / 10 { weight } else { 0 };
            }
            assert_eq!(total, TICKS * 10 * MS);
            assert_eq!(clock.next, TICKS);
            let share = |weight: u64| weight as f64 / total as f64;
            // Five standard deviations of 20,000 looks are below 0.017.
            assert!((share(early) - 0.1).abs() < 0.017, "{}", share(early));
            assert!((share(late) - 0.3).abs() < 0.017, "{}", share(late));
        }
    }

    /// Without jitter ticks come at the beginning of each interval, late ones or not.
    #[test]
    fn even_ticks() {
        let ms = Duration::from_millis;
        let mut clock = Clock::start_at(ms(1_000), 10 * MS, None, None);
        assert_eq!(clock.due, ms(1_000));
        clock.at(ms(1_000));
        assert_eq!(clock.due, ms(1_010));
        let late = clock.at(ms(1_033));
        assert_eq!((late.missed, late.stands_for), (2, ms(30)));
        assert_eq!(clock.due, ms(1_040));
    }

    /// A recording that is shorter than an interval has one tick.
    #[test]
    fn short_recordings() {
        for seed in 0..100 {
            let random = Rng::with_seed(seed);
            let clock = Clock::start_at(Duration::ZERO, 1000 * MS, Some(MS), Some(random));
            assert!(clock.due < Duration::from_millis(1));
        }
    }
}
