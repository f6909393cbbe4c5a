use std::sync::Arc;
use std::time::Duration;

use firefinch_cpython::{Motion, Runtime};
use firefinch_memory::{ReadError, RemoteAddr};
use firefinch_process::{Cost, Pid, Process, ProcessMemory, Question};

use crate::attach::{AttachError, find_runtime};
use crate::lost::Lost;
use crate::python::Python;
use crate::stack::Stack;
use crate::thread::TargetThread;
use crate::threads::Threads;

/// A process, and what is known of it so far: its memory, its threads, and the
/// interpreter that may be in it.
#[derive(Debug)]
pub struct Target {
    process: Arc<Process>,
    memory: Arc<ProcessMemory>,
    threads: Threads,
    python: Option<Python>,
}

/// How often a moving stack is read before it is given up at this tick.
const ATTEMPTS: usize = 3;

impl Target {
    /// Attaches to the process, waiting up to `patience` for an interpreter
    /// that is still starting.
    ///
    /// # Errors
    /// [`AttachError`], which says at which step it failed and why.
    pub fn attach(pid: Pid, patience: Duration) -> Result<Self, AttachError> {
        let process = Arc::new(Process::open(pid)?);
        let (memory, runtime) = find_runtime(&process, patience)?;
        Ok(Self {
            python: Some(Python::new(&memory, runtime)?),
            threads: Threads::of(&process)?,
            memory: Arc::new(memory),
            process,
        })
    }

    /// Attaches anew after an exec in the same process.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub fn reattach(&mut self, patience: Duration) -> Result<(), AttachError> {
        let (memory, runtime) = find_runtime(&self.process, patience)?;
        self.python = Some(Python::new(&memory, runtime)?);
        self.threads = Threads::of(&self.process)?;
        self.memory = Arc::new(memory);
        Ok(())
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

    /// Brings the list of threads up to date. Cheap when nothing changed.
    ///
    /// # Errors
    /// [`ReadError`] if the interpreter cannot be read any more.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        let Some(python) = &mut self.python else {
            return Ok(());
        };
        if python.has_new_threads(&*self.memory) {
            // A process that ends while it is listed has no threads to number.
            let _ = self.threads.tids.refresh(&self.process);
            let found = python.threads(&*self.memory, &self.threads.tids)?;
            self.threads.set(&self.process, found);
            python.follow(&*self.memory, &self.threads);
        }
        python.complete(&*self.memory, &mut self.threads);
        Ok(())
    }

    /// Forgets the list of threads, so that the next refresh reads it anew.
    pub fn forget_threads(&mut self) {
        if let Some(python) = &mut self.python {
            python.forget_threads();
        }
    }

    /// The threads, as of the last refresh; newest first.
    pub fn threads(&self) -> &[TargetThread] {
        self.threads.list()
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

    /// Whether stacks say for themselves who holds a lock.
    pub fn stacks_tell_gil(&self) -> bool {
        let python = self.python.as_ref();
        python.is_some_and(|python| python.stacks.tells_gil())
    }

    /// Finds out which thread states hold a lock now: one per lock at most.
    pub fn lock_holders(&mut self) -> &[RemoteAddr] {
        let Some(python) = &mut self.python else {
            return &[];
        };
        python.read_holders(&*self.memory);
        &python.holders
    }

    /// Whether the thread held a lock when
    /// [`lock_holders`](Self::lock_holders) were last asked for.
    pub fn holds_lock(&self, thread: &TargetThread) -> bool {
        let holders = self.python.as_ref().map(|python| &python.holders);
        let state = thread.python.map(|python| python.state);
        holders
            .zip(state)
            .is_some_and(|(holders, state)| holders.contains(&state))
    }

    /// The Python stack of the thread at `index`. That of a thread that has not
    /// run since it was last had is not read again.
    ///
    /// # Errors
    /// [`Lost`]: a stack that is returned was coherent.
    pub fn stack(&mut self, index: usize, motion: Motion) -> Result<Stack<'_>, Lost> {
        let rest = self.threads.rest(index);
        let (Some(thread), Some(python)) = (self.threads.get_mut(index), &mut self.python) else {
            return Ok(Stack {
                unchanged: 0,
                holds_gil: None,
                places: &[],
                paths: None,
                process: &self.process,
            });
        };
        let unchanged = if rest.is_some() && rest == thread.stack.rest {
            // Proved by the rest that it was read in.
            thread.stack.places().len()
        } else {
            thread.stack.rest = None;
            let attempts = match motion {
                Motion::Running => ATTEMPTS,
                Motion::Stopped => 1,
            };
            let mut unchanged = python.read_stack(&*self.memory, thread, motion);
            for _ in 1..attempts {
                // A code object may be released between the two halves.
                if unchanged.is_ok() {
                    break;
                }
                unchanged = python.read_stack(&*self.memory, thread, motion);
            }
            let unchanged = unchanged?;
            thread.stack.rest = rest;
            unchanged
        };
        Ok(Stack {
            unchanged,
            holds_gil: thread.stack.holds_gil,
            places: thread.stack.places(),
            paths: Some(&mut python.paths),
            process: &self.process,
        })
    }
}
