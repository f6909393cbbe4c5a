mod descendants;
mod locks;
mod native;
mod read;
mod refresh;

use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::Runtime;
use firefinch_process::{Cost, Process, ProcessMemory, Question, Thread};

use crate::attach::{AttachError, Found, Stacks, find_runtime};
use crate::native_stacks::NativeStacks;
use crate::python::Python;
use crate::search::Search;
use crate::thread::TargetThread;
use crate::threads::Threads;

pub(crate) use descendants::Wishes;
pub(crate) use read::ATTEMPTS;

/// A process, and what is known of it so far: its memory, its threads, and the
/// interpreter that may be in it.
#[derive(Debug)]
pub struct Target {
    process: Arc<Process>,
    wanted: Stacks,
    memory: Arc<ProcessMemory>,
    threads: Threads,
    python: Option<Python>,
    /// When to look for an interpreter where there is none.
    search: Search,
    native: NativeStacks,
    /// How many threads the system knew when they were listed, and when that
    /// was; `None` if they are to be listed anew.
    listed: Option<(usize, Instant)>,
    /// Until when threads may be there that are another process's.
    untidy_until: Option<Instant>,
}

impl Target {
    /// Attaches to the process for these stacks, waiting up to `patience` for
    /// an interpreter that is still starting.
    ///
    /// # Errors
    /// [`AttachError`], which says at which step it failed and why. If
    /// [nothing runs Python](AttachError::runs_no_python) though it looks as if
    /// something should, [`attach_native`](Self::attach_native) may do.
    pub fn attach(
        process: &Arc<Process>,
        wanted: Stacks,
        patience: Duration,
    ) -> Result<Self, AttachError> {
        let found = find_runtime(process, wanted, patience)?;
        Self::of(Arc::clone(process), wanted, NativeStacks::default(), found)
    }

    /// Attaches to the process without looking for an interpreter first. One
    /// that is found later is taken up.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub fn attach_native(process: &Arc<Process>, wanted: Stacks) -> Result<Self, AttachError> {
        let found = (process.memory()?, None);
        Self::of(Arc::clone(process), wanted, NativeStacks::default(), found)
    }

    fn of(
        process: Arc<Process>,
        wanted: Stacks,
        native: NativeStacks,
        (memory, runtime): Found,
    ) -> Result<Self, AttachError> {
        let python = runtime.map(|runtime| Python::new(&memory, runtime));
        let mut target = Self {
            wanted,
            python: python.transpose()?,
            threads: Threads::of(&process)?,
            memory: Arc::new(memory),
            process,
            search: Search::new(),
            native,
            listed: None,
            untidy_until: None,
        };
        target.prepare_native()?;
        Ok(target)
    }

    /// Attaches anew after an exec in the same process.
    ///
    /// # Errors
    /// As [`Target::attach`]. Whoever wants native stacks only where there is
    /// no interpreter, and had one, is not given them instead.
    pub fn reattach(&mut self, patience: Duration) -> Result<(), AttachError> {
        let wanted = self.wanted_of_the_next();
        let found = find_runtime(&self.process, wanted, patience);
        let (memory, runtime) = match found {
            Err(error) if wanted != Stacks::Python && error.runs_no_python() => {
                (self.process.memory()?, None)
            }
            found => found?,
        };
        let native = self.native.begin_anew();
        let process = Arc::clone(&self.process);
        *self = Self::of(process, self.wanted, native, (memory, runtime))?;
        Ok(())
    }

    /// What is wanted of what comes after this program, by exec or fork: where nobody has
    /// asked for native stacks, only a program that has no others has them, and what it has
    /// started.
    fn wanted_of_the_next(&self) -> Stacks {
        match self.wanted {
            Stacks::PythonOrNative if self.python.is_some() => Stacks::Python,
            wanted => wanted,
        }
    }

    /// The process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The interpreter, if there is one.
    pub fn runtime(&self) -> Option<&Runtime> {
        self.python.as_ref().map(|python| &python.runtime)
    }

    /// The memory, for its method and cost.
    pub fn memory(&self) -> &ProcessMemory {
        &self.memory
    }

    /// What finding out which threads ran has cost so far.
    pub fn watch_cost(&self) -> Cost {
        self.threads.watch().cost()
    }

    /// The number of code objects decoded so far.
    pub fn decoded(&self) -> usize {
        self.python.as_ref().map_or(0, |python| python.codes.len())
    }

    /// Whether the program that was attached to has been replaced or has ended.
    pub fn image_gone(&self) -> bool {
        self.memory.image_gone()
    }

    /// The threads, as of the last refresh; newest first.
    pub fn threads(&self) -> &[TargetThread] {
        self.threads.list()
    }

    /// The OS thread that the thread at `index` is.
    pub(crate) fn os_thread(&self, index: usize) -> Option<&Thread> {
        self.threads.os_thread(index).map(|(thread, _)| thread)
    }

    /// A number that changes with the list of threads and with their names.
    pub fn edition(&self) -> u64 {
        self.threads.edition()
    }

    /// Finds out what threads are doing, for [`TargetThread::activity`]: of
    /// those that wait only that they do, if the question is who runs. Whether
    /// one of them has ended.
    pub fn look(&mut self, question: Question) -> bool {
        let python = self.python.as_ref();
        self.threads.look(&self.process, python, question)
    }

    /// The threads that do not wait, and some that do, by their place in
    /// [`threads`](Self::threads).
    pub fn awake(&self) -> &[usize] {
        self.threads.awake()
    }

    /// The nanoseconds that the thread at `index` had been on a CPU at the last
    /// look, where the kernel counts them. While it runs they advance only at
    /// scheduler ticks, every 1 to 10 ms.
    pub fn run_ns(&self, index: usize) -> Option<u64> {
        self.threads.run_ns(index)
    }
}
