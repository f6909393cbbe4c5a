use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::{FindError, Motion, Runtime};
use firefinch_memory::{ReadError, RemoteAddr};
use firefinch_process::{AccessError, Cost, Process, ProcessMemory, Question};

use crate::attach::{AttachError, Found, Stacks, find_in, find_runtime};
use crate::fold::Shown;
use crate::lost::Lost;
use crate::named_later::NamedLater;
use crate::native::Library;
use crate::native_stacks::NativeStacks;
use crate::native_summary::NativeSummary;
use crate::python::Python;
use crate::search::Search;
use crate::stack::{Frames, KnownStack, Reading, Stack};
use crate::thread::TargetThread;
use crate::threads::Threads;

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

/// For what a process is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) stacks: Stacks,
    shown: Shown,
    kernel: bool,
    addresses: bool,
    /// Most processes of a tree have the same files mapped.
    library: Arc<Library>,
}

/// For so long the threads of one that may just have been forked are looked at
/// anew: what they were in its parent is there until the interpreter has tidied
/// up (Modules/posixmodule.c, `PyOS_AfterFork_Child`).
const TIDYING: Duration = Duration::from_millis(200);

/// A list of threads that is older than this is not trusted.
const RELIST: Duration = Duration::from_secs(1);

/// How often a moving stack is read before it is given up at this tick.
pub(crate) const ATTEMPTS: usize = 3;

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

    /// What the descendants of this process are attached to for: where nobody has
    /// asked for native stacks, only a program that has no others has them, and
    /// what it has started.
    pub(crate) fn wishes_for_descendants(&self) -> Wishes {
        Wishes {
            stacks: match self.wanted {
                Stacks::PythonOrNative if self.python.is_some() => Stacks::Python,
                wanted => wanted,
            },
            shown: self.native.shown(),
            kernel: self.native.shows_kernel(),
            addresses: self.native.keeps_addresses(),
            library: Arc::clone(self.native.library()),
        }
    }

    /// Attaches to what may be a fork of another process, and may have nothing of
    /// its own yet.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub(crate) fn attach_descendant(
        process: &Arc<Process>,
        wishes: &Wishes,
    ) -> Result<Self, AttachError> {
        let found = find_runtime(process, wishes.stacks, Duration::ZERO)?;
        Self::of_descendant(process, wishes, found)
    }

    /// The same without looking for an interpreter first.
    ///
    /// # Errors
    /// As [`Target::attach`].
    pub(crate) fn attach_native_descendant(
        process: &Arc<Process>,
        wishes: &Wishes,
    ) -> Result<Self, AttachError> {
        Self::of_descendant(process, wishes, (process.memory()?, None))
    }

    fn of_descendant(
        process: &Arc<Process>,
        wishes: &Wishes,
        found: Found,
    ) -> Result<Self, AttachError> {
        let native = NativeStacks::sharing(&wishes.library);
        let mut target = Self::of(Arc::clone(process), wishes.stacks, native, found)?;
        target.show(wishes.shown);
        target.show_kernel(wishes.kernel);
        target.keep_addresses(wishes.addresses);
        target.untidy_until = Some(Instant::now() + TIDYING);
        Ok(target)
    }

    /// Whether one of its threads is known to be this process's own, or nothing
    /// speaks for Python.
    pub(crate) fn has_own_threads(&self) -> bool {
        let mut threads = self.threads.list().iter();
        self.python.is_none()
            || threads.any(|thread| thread.python.is_some() && thread.tid.is_some())
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

    /// Sees to it that native stacks are read if they are wanted.
    fn prepare_native(&mut self) -> Result<(), AccessError> {
        let wanted = match self.wanted {
            Stacks::Python => false,
            Stacks::PythonOrNative => self.python.is_none(),
            Stacks::Merged => true,
        };
        match (wanted, self.native.are_read()) {
            (true, false) => self.native.begin(&self.process, &self.memory)?,
            (false, true) => self.native.end(),
            _ => {}
        }
        if let Some(python) = &mut self.python {
            self.native.merge_with(python);
        }
        Ok(())
    }

    /// Attaches anew after an exec in the same process.
    ///
    /// # Errors
    /// As [`Target::attach`]. Whoever wants native stacks only where there is
    /// no interpreter, and had one, is not given them instead.
    pub fn reattach(&mut self, patience: Duration) -> Result<(), AttachError> {
        let wanted = match self.wanted {
            Stacks::PythonOrNative if self.python.is_some() => Stacks::Python,
            wanted => wanted,
        };
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

    /// Says which native frames are shown.
    pub fn show(&mut self, shown: Shown) {
        self.native.show(shown);
    }

    /// Says whether the functions of the kernel that threads wait in are shown
    /// above native stacks; they are not unless this is called. Reading them
    /// takes CAP_SYS_ADMIN.
    pub fn show_kernel(&mut self, kernel: bool) {
        self.native.show_kernel(kernel);
    }

    /// Has native frames without a name tell their address: what is found by
    /// [`name_again`](Self::name_again) then has lines as well.
    pub fn keep_addresses(&mut self, keep: bool) {
        self.native.keep_addresses(keep);
    }

    /// How long a running thread may take to stop for its native stack: 20 ms
    /// unless this is called.
    pub fn set_patience(&mut self, patience: Duration) {
        self.native.set_patience(patience);
    }

    /// Whether stacks have native frames. Then each running thread is stopped
    /// for its own read, and no other need be.
    pub fn is_native(&self) -> bool {
        self.native.are_read()
    }

    /// Reads each stack once, within `limit`: the first look at a module's symbols
    /// may take a tenth of a second, which a recording is better without.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub fn prepare(&mut self, limit: Duration) -> Result<(), ReadError> {
        if !self.is_native() {
            return Ok(());
        }
        let begun = Instant::now();
        self.refresh()?;
        for index in 0..self.threads.list().len() {
            if begun.elapsed() >= limit {
                break;
            }
            // Whatever cannot be had now is counted when it is missed.
            let _ = self.read_native(index);
        }
        self.native.forget_tally();
        Ok(())
    }

    /// Whoever samples it from now on may be another thread of ours than until now.
    pub(crate) fn hand_over(&mut self) {
        self.native.hand_over();
    }

    /// What native stacks came to so far; `None` if there were none.
    pub fn native_summary(&self) -> Option<NativeSummary> {
        let tally = self.native.tally();
        (tally.quality.stacks > 0).then(|| NativeSummary {
            tally,
            with_python: self.python.is_some(),
            without_symbols: self.native.without_symbols(),
            kernel_refused: self.native.kernel_refused().map(str::to_owned),
            names_refused: self.native.names_refused().map(str::to_owned),
        })
    }

    /// Looks for names once more, as debug information may have come to be where
    /// it is looked for.
    pub fn name_again(&mut self) -> NamedLater {
        self.native.name_again()
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
        self.look_for_python();
        if let Some(until) = self.untidy_until {
            self.forget_threads();
            if Instant::now() >= until {
                self.untidy_until = None;
            }
        }
        let memory = &*self.memory;
        let python = self.python.as_ref();
        if python.is_some_and(|python| python.has_new_threads(memory)) || self.are_others_new() {
            self.list_threads()?;
        }
        if let Some(python) = &mut self.python {
            python.complete(&*self.memory, &mut self.threads);
        }
        Ok(())
    }

    fn list_threads(&mut self) -> Result<(), ReadError> {
        // Counted first: what comes meanwhile makes a difference next time. A
        // process that ends while it is listed has no threads to number.
        let count = self.process.thread_count().unwrap_or(0);
        let _ = self.threads.tids.refresh(&self.process);
        let mut found = match &mut self.python {
            Some(python) => python.threads(&*self.memory, &self.threads.tids)?,
            None => Vec::new(),
        };
        if self.untidy_until.is_some() {
            found.retain(|(_, tid)| tid.is_some());
        }
        let is_sure = self.listed.is_some();
        if self.is_native() {
            found.splice(0..0, self.threads.others(&self.process, &found));
        }
        let has_leftovers = self.python.as_ref().is_some_and(Python::has_leftovers);
        if self.is_native() || has_leftovers {
            self.listed = Some((count, Instant::now()));
        }
        if !is_sure || !self.threads.are(&found) {
            self.threads.set(&self.process, found);
            if let Some(python) = &mut self.python {
                python.follow(&*self.memory, &self.threads);
            }
        }
        if self.is_native() {
            // What Python has names for has them already, or gets them.
            self.threads.name(|_| None);
        }
        Ok(())
    }

    /// Whether threads that Python does not know may have come or gone, or a thread
    /// of a state that nobody seemed to run.
    fn are_others_new(&self) -> bool {
        let has_leftovers = self.python.as_ref().is_some_and(Python::has_leftovers);
        if !self.is_native() && !has_leftovers {
            return false;
        }
        let Some((count, when)) = self.listed else {
            return true;
        };
        // A name may be given late, and one thread may come as another goes.
        when.elapsed() >= RELIST || self.process.thread_count() != Ok(count)
    }

    /// Looks for an interpreter that may have come since there was none.
    fn look_for_python(&mut self) {
        if self.python.is_some() || !self.search.is_due() {
            return;
        }
        let Ok(mappings) = self.process.maps() else {
            return;
        };
        if !self.search.is_worthwhile(&mappings) {
            return;
        }
        let runtime = find_in(&self.process, &self.memory, &mappings);
        let expected = matches!(runtime, Err(FindError::NotReady(_)));
        self.search.failed(expected);
        let python = runtime.ok();
        self.python = python.and_then(|runtime| Python::new(&*self.memory, runtime).ok());
        if self.python.is_some() {
            // There was no reader yet or there is one: this cannot fail.
            let _ = self.prepare_native();
            self.forget_threads();
        }
    }

    /// Forgets the list of threads, so that the next refresh reads it anew.
    pub fn forget_threads(&mut self) {
        self.listed = None;
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
        python.is_some_and(|python| python.stacks_tell_gil)
    }

    /// The same as [`lock_holders`](Self::lock_holders), unless that was found out
    /// less than a millisecond before: at `time`, of a clock that only goes on.
    pub(crate) fn lock_holders_lately(&mut self, time: Duration) {
        if let Some(python) = &mut self.python
            && !python.knows_holders(time)
        {
            python.read_holders(&*self.memory);
        }
    }

    /// Finds out which thread states hold a lock now: one per lock at most.
    pub fn lock_holders(&mut self) -> &[RemoteAddr] {
        let Some(python) = &mut self.python else {
            return &[];
        };
        python.read_holders(&*self.memory);
        &python.holders
    }

    /// Whether the OS thread of the thread at `index` is that of another one,
    /// which has the merged stack of both.
    pub fn is_merged_elsewhere(&self, index: usize) -> bool {
        self.is_native() && !self.threads.is_first(index)
    }

    /// Whether the thread held a lock when
    /// [`lock_holders`](Self::lock_holders) were last asked for.
    pub fn holds_lock(&self, thread: &TargetThread) -> bool {
        let holders = self.python.as_ref().map(|python| &python.holders);
        let holds = |thread: &TargetThread| {
            let state = thread.python.map(|python| python.state);
            holders
                .zip(state)
                .is_some_and(|(holders, state)| holders.contains(&state))
        };
        match self.is_native() {
            true => self.threads.of_same(thread).any(holds),
            false => holds(thread),
        }
    }

    /// Reads the stack of the thread at `index`. That of a thread that has not run
    /// since it was last had is not read again. If stacks are native, `motion`
    /// makes no difference.
    ///
    /// # Errors
    /// [`Lost`]: a stack that was read was coherent.
    pub fn read(&mut self, index: usize, motion: Motion) -> Result<Reading, Lost> {
        let rest = self.threads.rest(index);
        let kept = self.threads.get_mut(index);
        let kept = kept.is_some_and(|thread| rest.is_some() && thread.stack.rest == rest);
        let unchanged = if kept {
            // Proved by the rest that it was read in.
            usize::MAX
        } else {
            if let Some(thread) = self.threads.get_mut(index) {
                thread.stack.rest = None;
            }
            let motion = match motion {
                Motion::Running if rest.is_some() => Motion::Resting,
                motion => motion,
            };
            let unchanged = match self.is_native() {
                true => self.read_native(index),
                false => self.read_python(index, motion),
            }?;
            if let Some(thread) = self.threads.get_mut(index) {
                thread.stack.rest = rest;
            }
            unchanged
        };
        Ok(Reading { index, unchanged })
    }

    /// What was read last of the thread. To name its files takes the file system of
    /// the target, which the target may be itself: better let it go before.
    pub fn stack(&mut self, reading: Reading) -> Stack<'_> {
        let stack = self.threads.get_mut(reading.index);
        let stack = stack.map(|thread| &thread.stack);
        let frames = stack.map_or(Frames::Python(&[]), KnownStack::frames);
        Stack {
            unchanged: reading.unchanged.min(frames.len()),
            holds_gil: stack.and_then(|stack| stack.holds_gil),
            frames,
            paths: self.python.as_mut().map(|python| &mut python.paths),
            process: &self.process,
        }
    }

    /// Brings the Python stack of a thread up to date: how many of its oldest
    /// frames are as before.
    fn read_python(&mut self, index: usize, motion: Motion) -> Result<usize, Lost> {
        let (Some(thread), Some(python)) = (self.threads.get_mut(index), &mut self.python) else {
            return Ok(0);
        };
        let attempts = match motion {
            Motion::Running | Motion::Resting => ATTEMPTS,
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
        unchanged
    }

    /// Brings the merged stack of a thread up to date: how many of its oldest
    /// frames are as before. Where only its Python stack can be had, that is it.
    fn read_native(&mut self, index: usize) -> Result<usize, Lost> {
        let python = self.python.as_mut();
        let merged = self.native.read(index, &mut self.threads, python);
        let thread = self.threads.list().get(index);
        match merged {
            Err(lost) if thread.is_some_and(|thread| thread.python.is_some()) => {
                self.read_python(index, Motion::Running)?;
                self.native.count_alone(lost);
                let thread = self.threads.get_mut(index);
                Ok(thread.map_or(0, |thread| thread.stack.stand_alone()))
            }
            merged => merged,
        }
    }
}
