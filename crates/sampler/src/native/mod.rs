//! Native stacks of a live process: captured, unwound, named.
//!
//! A [`Capture`] holds the registers and a copy of the stack of one thread, of
//! one moment. [`Native`] turns it into [`NativeFrame`]s when the thread has
//! long gone on.

mod capture;
mod frame;
mod role;

pub use capture::{Capture, CaptureError};
pub use frame::{NativeFrame, NativePlace};
pub use role::Role;

use std::sync::Arc;

use firefinch_memory::{Memory, RemoteAddr};
use firefinch_native::Outcome;
use firefinch_process::{AccessError, Process, Thread, Tid};

/// What is known of the machine code of one program: its modules, how to
/// unwind them, their names. An exec makes another program of a process.
#[derive(Debug)]
pub struct Native {
    process: Arc<Process>,
}

/// A native stack.
#[derive(Debug, Default)]
pub struct NativeStack {
    /// Newest first; empty only if there was nothing in the capture.
    pub frames: Vec<NativeFrame>,
    /// How it ended, and what was needed for that.
    pub outcome: Option<Outcome>,
}

impl Native {
    /// For the program that runs in the process now. Opens none of its files yet.
    ///
    /// # Errors
    /// [`AccessError`] if its mappings cannot be read.
    pub fn new(process: &Arc<Process>) -> Result<Self, AccessError> {
        process.maps()?;
        Ok(Self {
            process: Arc::clone(process),
        })
    }

    /// Says where the interpreter is, by any address of its data or code
    /// (`Runtime::location`): only functions there have a role but
    /// [`Role::Other`].
    pub fn set_interpreter(&mut self, addr: RemoteAddr) {
        let _ = addr;
    }

    /// An empty capture for a thread, which knows how much of this thread's
    /// stack was in use last time. Memory is reused: give every capture back,
    /// by [`stack`](Self::stack) or [`recycle`](Self::recycle).
    pub fn capture(&mut self, tid: Tid) -> Capture {
        Capture::new(tid)
    }

    /// Takes back a capture that is not wanted.
    pub fn recycle(&mut self, capture: Capture) {
        drop(capture);
    }

    /// Captures a thread that waits, without stopping it. `also` reads what
    /// belongs to the same moment. `None` if the thread did not stand still
    /// from before the capture was made until after `also` was done.
    pub fn capture_blocked<T>(
        &mut self,
        thread: &Thread,
        memory: &dyn Memory,
        also: impl FnOnce() -> T,
    ) -> Option<(Capture, T)> {
        let _ = (thread, memory, also);
        None
    }

    /// Unwinds and names what was captured. `memory` is only for what is not
    /// on the stack.
    pub fn stack(&mut self, capture: Capture, memory: &dyn Memory) -> NativeStack {
        let _ = (capture, memory, &self.process);
        NativeStack::default()
    }
}
