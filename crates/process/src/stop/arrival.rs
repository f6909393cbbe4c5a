use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Whether a thread that is about to be stopped runs, found out by whoever has asked for
/// it while the tracer arrives.
///
/// The tracer runs on the thread's CPU, so all that it does is lost time for the thread,
/// and to ask the kernel takes some 4 µs there. Nor can the thread begin to wait once the
/// tracer is there: what is found out on another CPU from then on holds as long as what
/// the tracer finds out itself.
#[derive(Debug, Default)]
pub(crate) struct Arrival(AtomicU8);

/// Nobody but the tracer can find out.
const ALONE: u8 = 0;
/// The tracer is to arrive, and somebody looks out for it.
const AWAITED: u8 = 1;
/// It has arrived, and is to be told.
const THERE: u8 = 2;
/// The thread runs.
const RUNS: u8 = 3;
/// It waits, or that could not be told: the tracer finds out.
const UNSURE: u8 = 4;

/// How long the tracer waits to be told, which takes some 2 µs.
const ANSWER: Duration = Duration::from_micros(20);

impl Arrival {
    /// The tracer is asked to stop a thread by one who looks out for it, or does not.
    pub(crate) fn begin(&self, looks: bool) {
        let stage = if looks { AWAITED } else { ALONE };
        self.0.store(stage, Ordering::Release);
    }

    /// Nobody looks out for it any more.
    pub(crate) fn leave(&self) {
        let _ = self.go(AWAITED, ALONE) || self.go(THERE, UNSURE);
    }

    /// Whether somebody looks out for the tracer, from another CPU than the thread's.
    pub(crate) fn is_awaited(&self) -> bool {
        self.stage() == AWAITED
    }

    /// Whether the tracer has arrived and has not been told yet.
    pub(crate) fn is_due(&self) -> bool {
        self.stage() == THERE
    }

    /// Tells it whether the thread runs.
    pub(crate) fn tell(&self, runs: bool) {
        self.go(THERE, if runs { RUNS } else { UNSURE });
    }

    /// The tracer is there.
    pub(crate) fn arrive(&self) {
        self.go(AWAITED, THERE);
    }

    /// Whether the tracer was told that the thread runs, since it has arrived.
    pub(crate) fn runs(&self) -> bool {
        let mut give_up = None;
        while self.is_due() {
            let now = Instant::now();
            if now >= *give_up.get_or_insert(now + ANSWER) {
                self.go(THERE, UNSURE);
            }
            std::hint::spin_loop();
        }
        self.stage() == RUNS
    }

    fn stage(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }

    /// From one stage to another; whether it was at the one.
    fn go(&self, from: u8, to: u8) -> bool {
        let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
        self.0.compare_exchange(from, to, done, seen).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tracer believes what it is told since it has arrived, and nothing else; where nobody tells it in time it is on its own.
    #[test]
    fn only_what_was_told_since() {
        let arrival = Arrival::default();
        assert!(!arrival.runs());
        for told in [true, false] {
            arrival.begin(true);
            arrival.tell(true);
            assert!(!arrival.is_due());
            arrival.arrive();
            assert!(arrival.is_due());
            arrival.tell(told);
            assert_eq!(arrival.runs(), told);
            assert!(!arrival.is_due());
        }
        arrival.begin(true);
        arrival.arrive();
        assert!(!arrival.runs());
        arrival.tell(true);
        assert!(!arrival.runs());
        for leaves_first in [true, false] {
            arrival.begin(true);
            if leaves_first {
                arrival.leave();
            }
            arrival.arrive();
            arrival.leave();
            assert!(!arrival.is_due());
            assert!(!arrival.runs());
        }
        arrival.begin(false);
        arrival.arrive();
        assert!(!arrival.is_due());
        assert!(!arrival.runs());
    }
}
