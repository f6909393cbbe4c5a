use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the user wants it to end. The first signal asks for the result, a
/// second one gives up.
#[derive(Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// A shell's exit status for death by signal N.
const DIED_BY: i32 = 128;

impl Stop {
    /// Listens for Ctrl-C, SIGTERM and SIGHUP from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal arms what the second one does.
            flag::register_conditional_shutdown(signal, DIED_BY + signal, Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
