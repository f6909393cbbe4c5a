use std::sync::atomic::{AtomicBool, Ordering};

use firefinch_sampler::Whom;

/// What the view asks of the recorder.
#[derive(Debug)]
pub(super) struct Controls {
    idle: AtomicBool,
    gil: AtomicBool,
}

impl Controls {
    pub(super) fn new(whom: Whom) -> Self {
        Self {
            idle: AtomicBool::new(whom.idle),
            gil: AtomicBool::new(whom.gil),
        }
    }

    /// Asks for these threads to be sampled.
    pub(super) fn sample(&self, whom: Whom) {
        self.idle.store(whom.idle, Ordering::Relaxed);
        self.gil.store(whom.gil, Ordering::Relaxed);
    }

    /// The threads that are to be sampled.
    pub(super) fn whom(&self) -> Whom {
        Whom {
            idle: self.idle.load(Ordering::Relaxed),
            gil: self.gil.load(Ordering::Relaxed),
        }
    }
}
