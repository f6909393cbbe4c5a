use std::sync::atomic::{AtomicBool, Ordering};

use firefinch_sampler::Whom;

/// What the view asks of the recorder.
#[derive(Debug)]
pub(super) struct Controls {
    idle: AtomicBool,
    gil: AtomicBool,
    suspend: AtomicBool,
}

impl Controls {
    pub(super) fn new(whom: Whom) -> Self {
        Self {
            idle: AtomicBool::new(whom.idle),
            gil: AtomicBool::new(whom.gil),
            suspend: AtomicBool::new(false),
        }
    }

    /// Asks for these threads to be sampled.
    pub(super) fn sample(&self, whom: Whom) {
        self.idle.store(whom.idle, Ordering::Relaxed);
        self.gil.store(whom.gil, Ordering::Relaxed);
    }

    /// Asks for all of us to be stopped, as soon as no thread of the target is.
    pub(super) fn suspend(&self) {
        self.suspend.store(true, Ordering::Release);
    }

    /// Whether that was asked for and has not come to pass.
    pub(super) fn is_suspending(&self) -> bool {
        self.suspend.load(Ordering::Acquire)
    }

    /// It has.
    pub(super) fn resumed(&self) {
        self.suspend.store(false, Ordering::Release);
    }

    /// The threads that are to be sampled.
    pub(super) fn whom(&self) -> Whom {
        Whom {
            idle: self.idle.load(Ordering::Relaxed),
            gil: self.gil.load(Ordering::Relaxed),
        }
    }
}
