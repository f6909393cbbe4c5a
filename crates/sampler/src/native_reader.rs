use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::{Motion, RawStack, StackError};
use firefinch_memory::{Memory, RemoteAddr};
use firefinch_process::{
    AccessError, Activity, Process, ProcessMemory, StopFailure, Stopper, Thread, Tid, Visit,
};
use hashbrown::HashMap;

use crate::ahead::Ahead;
use crate::kernel::KernelStacks;
use crate::native::{Capture, Library, Native, NativePlace};
use crate::python::Python;
use crate::target::ATTEMPTS;
use crate::within::{Within, tell_gil};

/// Reads native stacks, and the Python stacks in them at the same moment.
#[derive(Debug)]
pub(crate) struct NativeReader {
    pub(crate) native: Native,
    memory: Arc<ProcessMemory>,
    stopper: Stopper,
    patience: Duration,
    /// What to copy of each thread ahead.
    ahead: HashMap<Tid, Ahead>,
    /// For those copies.
    buffer: Vec<u8>,
    pub(crate) kernel: KernelStacks,
}

/// What was read of a thread while it stood still.
#[derive(Debug)]
pub(crate) struct Sight {
    /// Empty if it could not be filled.
    pub(crate) capture: Capture,
    /// Its Python stacks: one for each of its thread states.
    pub(crate) python: Vec<Result<RawStack, StackError>>,
    /// Where it waits in the kernel, if it does.
    pub(crate) kernel: Option<Arc<NativePlace>>,
}

/// A running thread stops within some 20 µs; one that waits for a processor has
/// to get one first. A recording has other things to do meanwhile.
const DEADLINE: Duration = Duration::from_millis(20);

/// Threads of which that is kept.
const MAX_AHEAD: usize = 4096;

/// How often a thread is tried that blocks and wakes up under our eyes.
const WAKES: usize = 4;

impl NativeReader {
    /// For the program that runs in the process now, with its memory.
    pub(crate) fn new(
        process: &Arc<Process>,
        memory: &Arc<ProcessMemory>,
        library: &Arc<Library>,
    ) -> Result<Self, AccessError> {
        Ok(Self {
            native: Native::new(process, memory, library)?,
            memory: Arc::clone(memory),
            stopper: Stopper::new(process)?,
            patience: DEADLINE,
            ahead: HashMap::new(),
            buffer: Vec::new(),
            kernel: KernelStacks::default(),
        })
    }

    /// The memory of the process.
    pub(crate) fn memory(&self) -> &ProcessMemory {
        &self.memory
    }

    /// Whoever reads from now on may be another thread of ours than until now.
    pub(crate) fn hand_over(&mut self) {
        self.stopper.rest();
    }

    /// The tick after this one comes at `moment`.
    pub(crate) fn expect(&mut self, moment: Instant) {
        self.stopper.expect(moment);
    }

    /// Gives running threads more time, or less.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Reads where a thread stands, with the stacks of these thread states: one
    /// that waits without a stop, which would end some system calls with EINTR,
    /// and one that runs by stopping it alone.
    ///
    /// # Errors
    /// Why it could not be stopped, if it runs; [`StopFailure::Waits`] if it
    /// blocked and woke up each time.
    pub(crate) fn read(
        &mut self,
        thread: &Thread,
        mut python: Option<&mut Python>,
        states: &[RemoteAddr],
    ) -> Result<Sight, StopFailure> {
        for _ in 0..WAKES {
            let python = python.as_deref_mut();
            // What was seen of it before may be milliseconds old.
            if let Ok(Activity::Waiting(_)) = thread.activity() {
                if let Some(sight) = self.read_blocked(thread, python, states) {
                    return Ok(sight);
                }
                continue;
            }
            match self.visit(thread, python, states) {
                Err(StopFailure::Waits) => {}
                sight => return sight,
            }
        }
        Err(StopFailure::Waits)
    }

    fn read_blocked(
        &mut self,
        thread: &Thread,
        python: Option<&mut Python>,
        states: &[RemoteAddr],
    ) -> Option<Sight> {
        let memory = &*self.memory;
        let kernel = &mut self.kernel;
        let read = || {
            let kernel = kernel.read(thread);
            let locks = python.as_ref().map(|python| python.locks_to_read());
            let Some(stacks) = python.and_then(Python::reader) else {
                return (Vec::new(), kernel);
            };
            let locks = locks.unwrap_or_default();
            let read = |state: &RemoteAddr| {
                // Should it wake up meanwhile, what is read must not be
                // believed for having stood still.
                let mut read = || stacks.read(memory, *state, Motion::Running);
                let first = read();
                (1..ATTEMPTS).fold(first, |result, _| result.or_else(|_| read()))
            };
            let mut stacks: Vec<_> = states.iter().map(read).collect();
            let holders = locks.iter().filter_map(|lock| lock.holder(memory));
            let holders: Vec<_> = holders.collect();
            tell_gil(&mut stacks, states, &locks, &holders);
            (stacks, kernel)
        };
        let (capture, (python, kernel)) = self.native.capture_blocked(thread, read)?;
        Some(Sight {
            capture,
            python,
            kernel,
        })
    }

    fn visit(
        &mut self,
        thread: &Thread,
        mut python: Option<&mut Python>,
        states: &[RemoteAddr],
    ) -> Result<Sight, StopFailure> {
        let tid = thread.tid();
        let mut capture = self.native.capture(tid);
        let locks = python.as_ref().map(|python| python.locks_to_read());
        let stacks = python.as_mut().and_then(|python| python.lend_reader());
        let mut ahead = self.ahead.remove(&tid).unwrap_or_default();
        ahead.swap(&mut self.buffer);
        let mut within = Within::new(stacks, states, locks.unwrap_or_default(), ahead);
        let copies = within.plan();
        let memory = Arc::clone(&self.memory);
        // What the tracer works with moves to its thread, and back.
        let work = move |visit: Visit<'_>| {
            let read = visit.map(|stopped| {
                let mut read = |memory: &dyn Memory| {
                    if copies {
                        within.copy(memory);
                        return None;
                    }
                    Some(within.read(memory))
                };
                let stacks = match stopped.registers() {
                    // An empty capture says that it failed.
                    Ok(registers) => capture.fill_stopped_with(&registers, &*memory, read).1,
                    Err(_) => read(&*memory),
                };
                stacks.or_else(|| within.read_rest(&*memory, &capture))
            });
            (capture, within, read)
        };
        let deadline = Instant::now() + self.patience;
        let done = self.stopper.visit(tid, deadline, work);
        let Some((capture, mut within, read)) = done else {
            return Err(StopFailure::TimedOut);
        };
        let memory = &*self.memory;
        let read = read.map(|stacks| stacks.or_else(|| within.read_copied(memory, &capture)));
        let (stacks, mut ahead) = within.into_parts(&capture);
        if let (Some(python), Some(stacks)) = (python, stacks) {
            python.give_back(stacks);
        }
        ahead.swap(&mut self.buffer);
        self.keep(tid, ahead);
        // Only if the thread is still there was it this one that stood still, and not
        // another that has been given its number.
        let there = thread.activity().map_err(|_| StopFailure::Gone);
        let read = read.and_then(|python| there.map(|_| python));
        // What was not copied after all is read the next time, while it stands still.
        match read.and_then(|python| python.ok_or(StopFailure::Waits)) {
            Ok(python) => Ok(Sight {
                capture,
                python,
                kernel: None,
            }),
            Err(failure) => {
                self.native.recycle(capture);
                Err(failure)
            }
        }
    }

    fn keep(&mut self, tid: Tid, ahead: Ahead) {
        if self.ahead.len() >= MAX_AHEAD {
            self.ahead.clear();
        }
        self.ahead.insert(tid, ahead);
    }
}
