use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::{Motion, RawStack, StackError};
use firefinch_memory::RemoteAddr;
use firefinch_process::{
    AccessError, Activity, Process, ProcessMemory, StopFailure, Stopper, Thread, Visit,
};

use crate::native::{Capture, Native};
use crate::python::Python;
use crate::target::ATTEMPTS;

/// Reads native stacks, and the Python stacks in them at the same moment.
#[derive(Debug)]
pub(crate) struct NativeReader {
    pub(crate) native: Native,
    stopper: Stopper,
    patience: Duration,
}

/// What was read of a thread while it stood still.
#[derive(Debug)]
pub(crate) struct Sight {
    /// Empty if it could not be filled.
    pub(crate) capture: Capture,
    /// `None` for a thread without a thread state.
    pub(crate) python: Option<Result<RawStack, StackError>>,
}

/// A thread state, and the interpreter that it belongs to.
pub(crate) type State<'a> = (&'a mut Python, RemoteAddr);

/// A running thread stops within some 20 µs; one that waits for a processor has
/// to get one first. A recording has other things to do meanwhile.
pub(crate) const DEADLINE: Duration = Duration::from_millis(20);

/// How often a thread is tried that blocks and wakes up under our eyes.
const WAKES: usize = 4;

impl NativeReader {
    /// A reader that gives a running thread up if it does not stop within
    /// `patience`.
    pub(crate) fn new(
        process: &Arc<Process>,
        memory: &Arc<ProcessMemory>,
        patience: Duration,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            native: Native::new(process, memory)?,
            stopper: Stopper::new(process)?,
            patience,
        })
    }

    /// Gives running threads more time, or less.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Reads where a thread stands: one that waits without a stop, which would
    /// end some system calls with EINTR, and one that runs by stopping it alone.
    ///
    /// # Errors
    /// Why it could not be stopped, if it runs; [`StopFailure::Waits`] if it
    /// blocked and woke up each time.
    pub(crate) fn read(
        &mut self,
        thread: &Thread,
        mut state: Option<State<'_>>,
        memory: &Arc<ProcessMemory>,
    ) -> Result<Sight, StopFailure> {
        for _ in 0..WAKES {
            // What was seen of it before may be milliseconds old.
            if let Ok(Activity::Waiting(_)) = thread.activity() {
                let sight = self.read_blocked(thread, state.as_mut(), memory);
                if let Some(sight) = sight {
                    return Ok(sight);
                }
                continue;
            }
            match self.visit(thread, state.as_mut(), memory) {
                Err(StopFailure::Waits) => {}
                sight => return sight,
            }
        }
        Err(StopFailure::Waits)
    }

    fn read_blocked(
        &mut self,
        thread: &Thread,
        state: Option<&mut State<'_>>,
        memory: &Arc<ProcessMemory>,
    ) -> Option<Sight> {
        let read = || {
            let (python, state) = state?;
            let stacks = python.reader()?;
            // Should it wake up meanwhile, what is read must not be believed
            // for having stood still.
            let mut read = || stacks.read(&**memory, *state, Motion::Running);
            let first = read();
            Some((1..ATTEMPTS).fold(first, |result, _| result.or_else(|_| read())))
        };
        let (capture, python) = self.native.capture_blocked(thread, read)?;
        Some(Sight { capture, python })
    }

    fn visit(
        &mut self,
        thread: &Thread,
        state: Option<&mut State<'_>>,
        memory: &Arc<ProcessMemory>,
    ) -> Result<Sight, StopFailure> {
        let tid = thread.tid();
        let mut capture = self.native.capture(tid);
        let state = state.map(|(python, state)| (python, *state));
        let (python, state) = state.unzip();
        let lent = python.and_then(|python| Some((python.lend_reader()?, python)));
        let (mut reader, python) = lent.unzip();
        let memory = Arc::clone(memory);
        // What the tracer works with moves to its thread, and back.
        let work = move |visit: Visit<'_>| {
            let read = visit.map(|stopped| {
                if let Ok(registers) = stopped.registers() {
                    // An empty capture says that it failed.
                    let _ = capture.fill_stopped(&registers, &*memory);
                }
                let stacks = reader.as_mut().zip(state);
                stacks.map(|(stacks, state)| stacks.read(&*memory, state, Motion::Stopped))
            });
            (capture, reader, read)
        };
        let deadline = Instant::now() + self.patience;
        let done = self.stopper.visit(tid, deadline, work);
        let Some((capture, reader, read)) = done else {
            return Err(StopFailure::TimedOut);
        };
        if let (Some(python), Some(reader)) = (python, reader) {
            python.give_back(reader);
        }
        match read {
            Ok(python) => Ok(Sight { capture, python }),
            Err(failure) => {
                self.native.recycle(capture);
                Err(failure)
            }
        }
    }
}
