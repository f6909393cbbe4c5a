use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use firefinch_cpython::{
    CodeCache, Gil, Interpreter, ListHeads, Motion, PythonThread, Runtime, StackReader, ThreadIds,
};
use firefinch_memory::{ReadError, RemoteAddr};
use firefinch_process::{NsTid, Process, ProcessMemory, Question, Tid, Watch};

use crate::attach::{AttachError, find_runtime};
use crate::lost::Lost;
use crate::paths::ShortPaths;
use crate::state::Activity;
use crate::thread::TargetThread;

/// The interpreter that runs in the process now; an exec brings a new one.
#[derive(Debug)]
pub(crate) struct Python {
    pub(crate) memory: ProcessMemory,
    pub(crate) runtime: Runtime,
    pub(crate) stacks: StackReader,
    pub(crate) codes: CodeCache,
    pub(crate) paths: ShortPaths,
    ids: ThreadIds,
    tids: firefinch_process::ThreadIds,
    pub(crate) watch: Watch,
    gils: HashMap<RemoteAddr, Gil>,
    /// The same, each once: interpreters may share one.
    locks: Vec<Gil>,
    pub(crate) holders: Vec<RemoteAddr>,
    pub(crate) threads: Vec<TargetThread>,
    /// For each watched OS thread the threads that it is: several where it
    /// runs several interpreters.
    states_of: Vec<Vec<usize>>,
    /// Threads without an OS thread that could be watched.
    unwatched: Vec<usize>,
    /// Threads of which it is not known that they wait.
    pub(crate) awake: Vec<usize>,
    /// The list heads when `threads` was made: a new thread or interpreter
    /// changes them.
    pub(crate) heads: ListHeads,
    names_read: Option<Instant>,
    /// Whether a thread has no name yet.
    unnamed: bool,
    /// Counts the changes of the list of threads and of their names.
    pub(crate) edition: u64,
    serials: u64,
}

/// Names are looked up again at most this often while some are missing: a
/// thread has its state a moment before `threading` lists it.
const NAMES_INTERVAL: Duration = Duration::from_millis(200);

impl Python {
    pub(crate) fn find(process: &Process, patience: Duration) -> Result<Self, AttachError> {
        let (memory, runtime) = find_runtime(process, patience)?;
        let ids = ThreadIds::new(&runtime);
        let mut python = Self {
            stacks: StackReader::new(&runtime)?,
            codes: CodeCache::new(&runtime)?,
            memory,
            runtime,
            paths: ShortPaths::default(),
            ids,
            tids: process.thread_ids()?,
            watch: Watch::new(),
            gils: HashMap::new(),
            locks: Vec::new(),
            holders: Vec::new(),
            threads: Vec::new(),
            states_of: Vec::new(),
            unwatched: Vec::new(),
            awake: Vec::new(),
            heads: ListHeads::default(),
            names_read: None,
            unnamed: false,
            edition: 0,
            serials: 0,
        };
        python.paths = ShortPaths::new(python.sys_path());
        Ok(python)
    }

    fn sys_path(&self) -> Vec<String> {
        let interpreters = self.runtime.interpreters(&self.memory).unwrap_or_default();
        // The main interpreter was linked first and so is last.
        let main = interpreters.last().copied();
        main.and_then(|main| self.runtime.sys_path(&self.memory, main).ok())
            .unwrap_or_default()
    }

    pub(crate) fn refresh(&mut self, process: &Process) -> Result<(), ReadError> {
        if !self.runtime.same_heads(&self.memory, &self.heads) {
            let heads = self.runtime.list_heads(&self.memory)?;
            self.list_threads(process)?;
            self.heads = heads;
        }
        if self.paths.is_unknown() {
            // Attached while the interpreter was starting.
            self.paths = ShortPaths::new(self.sys_path());
        }
        let due = self
            .names_read
            .is_none_or(|read| read.elapsed() >= NAMES_INTERVAL);
        if self.unnamed && due {
            self.read_names();
        }
        Ok(())
    }

    fn list_threads(&mut self, process: &Process) -> Result<(), ReadError> {
        let threads = self.runtime.threads(&self.memory)?;
        // A process that ends while it is listed has no threads to number.
        let _ = self.tids.refresh(process);
        let known: HashSet<u64> = self
            .tids
            .iter()
            .map(|(_, tid)| u64::from(tid.get().unsigned_abs()))
            .collect();
        let ids = self.ids.resolve(&self.memory, &threads, &known);
        let mut old: HashMap<_, _> = std::mem::take(&mut self.threads)
            .into_iter()
            .map(|thread| ((thread.python.state, thread.tid), thread))
            .collect();
        for (python, id) in threads.into_iter().zip(ids) {
            let id = id.and_then(|id| i32::try_from(id).ok());
            let tid = id.and_then(|id| self.tids.tid(NsTid::new(id)?));
            let kept = old
                .remove(&(python.state, tid))
                .filter(|kept| kept.python == python);
            let thread = kept.unwrap_or_else(|| self.new_thread(python, tid));
            self.threads.push(thread);
        }
        self.watch_threads(process);
        let interpreters: HashSet<Interpreter> =
            self.threads.iter().map(|t| t.python.interpreter).collect();
        self.gils = interpreters
            .into_iter()
            .filter_map(|interpreter| {
                let gil = Gil::of(&self.runtime, &self.memory, interpreter)?;
                Some((interpreter.addr, gil))
            })
            .collect();
        self.locks.clear();
        for gil in self.gils.values() {
            if !self.locks.contains(gil) {
                self.locks.push(gil.clone());
            }
        }
        self.names_read = None;
        self.unnamed = self.threads.iter().any(|thread| thread.name.is_none());
        self.edition += 1;
        Ok(())
    }

    fn new_thread(&mut self, python: PythonThread, tid: Option<Tid>) -> TargetThread {
        self.serials += 1;
        TargetThread::new(python, tid, self.serials)
    }

    fn watch_threads(&mut self, process: &Process) {
        let tids = self.threads.iter().filter_map(|thread| thread.tid);
        self.watch.set_threads(process, tids);
        self.states_of.clear();
        self.unwatched.clear();
        for (index, thread) in self.threads.iter_mut().enumerate() {
            thread.watched = thread.tid.and_then(|tid| self.watch.index(tid));
            match thread.watched {
                Some(watched) => {
                    let len = self.states_of.len().max(watched + 1);
                    self.states_of.resize_with(len, Vec::new);
                    if let Some(states) = self.states_of.get_mut(watched) {
                        states.push(index);
                    }
                }
                None => self.unwatched.push(index),
            }
            // A number may have gone to another OS thread.
            thread.stack.rest = None;
        }
    }

    /// Asks each interpreter for the names of its threads; what cannot be read
    /// now may be readable later.
    fn read_names(&mut self) {
        self.names_read = Some(Instant::now());
        self.edition += 1;
        let interpreters: HashSet<Interpreter> =
            self.threads.iter().map(|t| t.python.interpreter).collect();
        for interpreter in interpreters {
            let Ok(names) = self.runtime.thread_names(&self.memory, interpreter) else {
                continue;
            };
            for thread in &mut self.threads {
                if thread.python.interpreter == interpreter
                    && let Some(name) = names.get(&thread.python.ident)
                {
                    thread.name = Some(name.clone());
                }
            }
        }
        self.unnamed = self.threads.iter().any(|thread| thread.name.is_none());
        // An OS thread that runs several interpreters has one name.
        let named: HashMap<Tid, String> = self
            .threads
            .iter()
            .filter_map(|thread| Some((thread.tid?, thread.name.clone()?)))
            .collect();
        for thread in self.threads.iter_mut().filter(|t| t.name.is_none()) {
            let shared = thread.tid.and_then(|tid| named.get(&tid).cloned());
            let os = thread.watched.and_then(|index| self.watch.thread(index));
            let comm = || os.and_then(|os| os.comm().ok());
            thread.os_name = shared.or_else(comm);
        }
    }

    /// Finds out what threads are doing; whether one of them has ended.
    pub(crate) fn look(&mut self, process: &Process, question: Question) -> bool {
        let gone = self.watch.look(process, question);
        for watched in self.watch.looked_at() {
            for index in self.states_of.get(*watched).into_iter().flatten() {
                let Some(thread) = self.threads.get_mut(*index) else {
                    continue;
                };
                let gil = self.gils.get(&thread.python.interpreter.addr);
                thread.activity = Activity::of(&self.watch.seen(*watched), gil);
            }
        }
        self.awake.clone_from(&self.unwatched);
        for watched in self.watch.awake() {
            let states = self.states_of.get(*watched);
            self.awake.extend(states.into_iter().flatten());
        }
        gone
    }

    /// The nanoseconds that the thread at `index` has been on a CPU in all its
    /// life. Of an OS thread that runs several interpreters only the newest
    /// thread state has them.
    pub(crate) fn run_ns(&self, index: usize) -> Option<u64> {
        let watched = self.threads.get(index)?.watched?;
        let newest = self.states_of.get(watched)?.first()?;
        (*newest == index)
            .then(|| self.watch.run_ns(watched))
            .flatten()
    }

    /// Finds out who holds a lock now: one thread state for each at most.
    pub(crate) fn read_holders(&mut self) {
        self.holders.clear();
        for lock in &self.locks {
            self.holders.extend(lock.holder(&self.memory));
        }
    }

    /// Brings the known stack of a thread up to date: how many of its oldest
    /// frames are as before.
    pub(crate) fn read_stack(&mut self, index: usize, motion: Motion) -> Result<usize, Lost> {
        let Some(thread) = self.threads.get_mut(index) else {
            return Ok(0);
        };
        // Proved by the rest that it was read in.
        let rest = thread.watched.and_then(|index| self.watch.rest(index));
        if rest.is_some() && rest == thread.stack.rest {
            return Ok(thread.stack.places().len());
        }
        thread.stack.rest = None;
        let raw = self.stacks.read(&self.memory, thread.python.state, motion);
        let raw = raw.map_err(Lost::Stack)?;
        let update = thread.stack.update(&mut self.codes, &self.memory, &raw);
        let unchanged = update.map_err(Lost::Code)?;
        thread.stack.rest = rest;
        Ok(unchanged)
    }
}
