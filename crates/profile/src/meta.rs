use std::num::{NonZeroU32, NonZeroU64};
use std::time::SystemTime;

/// What is known about a recording besides its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// The time from one tick to the next, in nanoseconds, as asked for.
    pub interval_ns: NonZeroU64,
    /// When the recording began.
    pub start: SystemTime,
    /// How long it lasted, in nanoseconds; 0 until it has ended.
    pub duration_ns: u64,
    /// What was recorded, in words for a title: `python app.py (PID 4242)`.
    pub target: String,
    /// The processor time the profiler itself used while it recorded, in nanoseconds.
    pub profiler_cpu_ns: u64,
    /// Whether waiting threads were recorded too.
    pub idle_threads: bool,
    /// Whether only the holder of the interpreter's lock was recorded.
    pub gil_only: bool,
    /// Whether samples are weighted by the time on a processor instead of the
    /// time that passed.
    pub cpu_time: bool,
}

impl Meta {
    /// A recording at this many ticks a second that begins at `start`.
    pub fn at_rate(rate_hz: NonZeroU32, start: SystemTime) -> Self {
        let interval = 1_000_000_000 / u64::from(rate_hz.get());
        Self {
            interval_ns: NonZeroU64::new(interval).unwrap_or(NonZeroU64::MIN),
            start,
            duration_ns: 0,
            target: String::new(),
            profiler_cpu_ns: 0,
            idle_threads: false,
            gil_only: false,
            cpu_time: false,
        }
    }

    /// Ticks a second.
    pub fn rate_hz(&self) -> f64 {
        1e9 / self.interval_ns.get() as f64
    }
}
