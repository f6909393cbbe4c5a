use std::time::Duration;

use firefinch_cpython::{ListHeads, Motion, Runtime};
use firefinch_memory::{ReadError, RemoteAddr};
use firefinch_process::{Cost, Pid, Process, ProcessMemory, Question};

use crate::attach::AttachError;
use crate::lost::Lost;
use crate::python::Python;
use crate::stack::Stack;
use crate::thread::TargetThread;

/// A process with an interpreter in it, and what is known of it so far.
#[derive(Debug)]
pub struct Target {
    process: Process,
    python: Python,
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
        let process = Process::open(pid)?;
        let python = Python::find(&process, patience)?;
        Ok(Self { process, python })
    }

    /// Attaches anew after an exec in the same process.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub fn reattach(&mut self, patience: Duration) -> Result<(), AttachError> {
        self.python = Python::find(&self.process, patience)?;
        Ok(())
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The interpreter.
    pub fn runtime(&self) -> &Runtime {
        &self.python.runtime
    }

    /// The memory, for its method and cost.
    pub fn memory(&self) -> &ProcessMemory {
        &self.python.memory
    }

    /// What finding out which threads ran has cost so far.
    pub fn watch_cost(&self) -> Cost {
        self.python.watch.cost()
    }

    /// The number of code objects decoded so far.
    pub fn decoded(&self) -> usize {
        self.python.codes.len()
    }

    /// Whether the program that was attached to has been replaced or has ended.
    pub fn image_gone(&self) -> bool {
        self.python.memory.image_gone()
    }

    /// Brings the list of threads up to date. Cheap when nothing changed.
    ///
    /// # Errors
    /// [`ReadError`] if the interpreter cannot be read any more.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        self.python.refresh(&self.process)
    }

    /// Forgets the list of threads, so that the next refresh reads it anew.
    pub fn forget_threads(&mut self) {
        self.python.heads = ListHeads::default();
    }

    /// The threads, as of the last refresh; newest first.
    pub fn threads(&self) -> &[TargetThread] {
        &self.python.threads
    }

    /// A number that changes with the list of threads and with their names.
    pub fn edition(&self) -> u64 {
        self.python.edition
    }

    /// Finds out what threads are doing, for [`TargetThread::activity`]: of
    /// those that wait only that they do, if the question is who runs. Whether
    /// one of them has ended.
    pub fn look(&mut self, question: Question) -> bool {
        self.python.look(&self.process, question)
    }

    /// The threads that do not wait, and some that do, by their place in
    /// [`threads`](Self::threads).
    pub fn awake(&self) -> &[usize] {
        &self.python.awake
    }

    /// The nanoseconds that the thread at `index` had been on a CPU at the last
    /// look, where the kernel counts them. While it runs they advance only at
    /// scheduler ticks, every 1 to 10 ms.
    pub fn run_ns(&self, index: usize) -> Option<u64> {
        self.python.run_ns(index)
    }

    /// Whether stacks say for themselves who holds a lock.
    pub fn stacks_tell_gil(&self) -> bool {
        self.python.stacks.tells_gil()
    }

    /// Finds out which thread states hold a lock now: one per lock at most.
    pub fn lock_holders(&mut self) -> &[RemoteAddr] {
        self.python.read_holders();
        &self.python.holders
    }

    /// Whether the thread held a lock when
    /// [`lock_holders`](Self::lock_holders) were last asked for.
    pub fn holds_lock(&self, thread: &TargetThread) -> bool {
        self.python.holders.contains(&thread.python.state)
    }

    /// The stack of the thread at `index`. That of a thread that has not run
    /// since it was last had is not read again.
    ///
    /// # Errors
    /// [`Lost`]: a stack that is returned was coherent.
    pub fn stack(&mut self, index: usize, motion: Motion) -> Result<Stack<'_>, Lost> {
        let python = &mut self.python;
        let attempts = match motion {
            Motion::Running => ATTEMPTS,
            Motion::Stopped => 1,
        };
        let mut unchanged = python.read_stack(index, motion);
        for _ in 1..attempts {
            // A code object may be released between the two halves.
            if unchanged.is_ok() {
                break;
            }
            unchanged = python.read_stack(index, motion);
        }
        let thread = python.threads.get(index);
        Ok(Stack {
            unchanged: unchanged?,
            holds_gil: thread.and_then(|thread| thread.stack.holds_gil),
            places: thread.map_or(&[], |thread| thread.stack.places()),
            paths: &mut python.paths,
            process: &self.process,
        })
    }
}
