use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether the user wants it to end. The first signal asks for the result, a
/// second one gives up.
#[derive(Debug)]
pub(crate) struct Stop {
    asked: Arc<AtomicBool>,
    /// From now on SIGTERM and SIGHUP end us at once.
    done: Arc<AtomicBool>,
}

/// A shell's exit status for death by signal N.
const DIED_BY: i32 = 128;

impl Stop {
    /// Listens for Ctrl-C, SIGTERM and SIGHUP from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal arms what the second one does.
            flag::register_conditional_shutdown(signal, DIED_BY + signal, Arc::clone(&asked))?;
            if signal != SIGINT {
                flag::register_conditional_shutdown(signal, DIED_BY + signal, Arc::clone(&done))?;
            }
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self { asked, done })
    }

    /// The same, but further signals ask for nothing more before
    /// [`only_wait`](Self::only_wait): the terminal has to be given back first.
    pub(crate) fn listen_calmly() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_shutdown(signal, DIED_BY + signal, Arc::clone(&done))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self { asked, done })
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// What was asked to end has ended: the next signal asks for the end of what
    /// comes now, and the one after that gives up.
    pub(crate) fn renew(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Nothing is left but to wait for a command: SIGTERM and SIGHUP end that
    /// wait at once. A terminal sends the first Ctrl-C to the command too, which
    /// may need time to end by it; the second one ends the wait.
    pub(crate) fn only_wait(&self) {
        self.done.store(true, Ordering::Relaxed);
    }
}
