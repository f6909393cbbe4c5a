use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::{
    CodeCache, CodeError, CodeObject, Gil, Interpreter, Motion, ObjectError, PythonThread,
    RawStack, Runtime, StackError, StackReader, ThreadIds,
};
use firefinch_memory::{ReadError, ReadErrorKind, RemoteAddr};
use firefinch_process::{NsTid, Pid, Process, ProcessMemory, Thread, Tid};
use firefinch_profile::LossReason;

use crate::attach::{AttachError, find_runtime};
use crate::paths::ShortPaths;
use crate::state::Activity;

/// A process with an interpreter in it, and what is known of it so far.
#[derive(Debug)]
pub struct Target {
    process: Process,
    python: Python,
}

/// The interpreter that runs in the process now; an exec brings a new one.
#[derive(Debug)]
struct Python {
    memory: ProcessMemory,
    runtime: Runtime,
    stacks: StackReader,
    codes: CodeCache,
    paths: ShortPaths,
    ids: ThreadIds,
    tids: firefinch_process::ThreadIds,
    gils: HashMap<RemoteAddr, Gil>,
    threads: Vec<TargetThread>,
    /// The list heads when `threads` was made: a new thread or interpreter
    /// changes them.
    heads: Vec<RemoteAddr>,
    names_read: Option<Instant>,
}

/// A thread of the target that has a Python thread state.
#[derive(Debug)]
pub struct TargetThread {
    /// The interpreter's view of it.
    pub python: PythonThread,
    /// The OS thread as we number it, where it could be told.
    pub tid: Option<Tid>,
    /// What the program calls it (`threading.Thread.name`).
    pub name: Option<String>,
    /// What the system calls it, for threads that Python did not start.
    os_name: Option<String>,
    os: Option<Thread>,
}

impl TargetThread {
    /// The best name there is: the program's, else the system's, else none.
    pub fn display_name(&self) -> &str {
        let name = self.name.as_deref().or(self.os_name.as_deref());
        name.unwrap_or_default()
    }
}

/// One frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function.
    pub code: Arc<CodeObject>,
    /// The line, or `None` at an instruction that belongs to none.
    pub line: Option<u32>,
    /// The file name as people write it.
    pub short_file: Arc<str>,
}

/// Why a thread's stack is not known at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The stack could not be read.
    Stack(StackError),
    /// A code object in it could not be decoded.
    Code(CodeError),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stack(e) => e.fmt(f),
            Self::Code(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Lost {}

impl Lost {
    /// The reason under which the loss is counted.
    pub fn reason(&self) -> LossReason {
        let read = match self {
            Self::Stack(StackError::Read(read))
            | Self::Code(CodeError::Object(ObjectError::Read(read))) => read,
            Self::Stack(StackError::Torn) => return LossReason::Torn,
            Self::Stack(StackError::TooDeep) => return LossReason::TooDeep,
            Self::Stack(StackError::Garbage(_)) | Self::Code(_) => return LossReason::BadData,
        };
        match read.kind {
            ReadErrorKind::Gone => LossReason::NotReady,
            ReadErrorKind::Denied(_) => LossReason::Denied,
            _ => LossReason::Unreadable,
        }
    }
}

/// How often a moving stack is read before it is given up at this tick.
const ATTEMPTS: usize = 3;
/// Names are looked up again at most this often while some are missing: a
/// thread has its state a moment before `threading` lists it.
const NAMES_INTERVAL: Duration = Duration::from_millis(200);

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
        self.python.heads.clear();
    }

    /// The threads, as of the last refresh; newest first.
    pub fn threads(&self) -> &[TargetThread] {
        &self.python.threads
    }

    fn activity(&self, index: usize) -> Activity {
        let Some(thread) = self.python.threads.get(index) else {
            return Activity::Unknown;
        };
        let gil = self.python.gils.get(&thread.python.interpreter.addr);
        match thread.os.as_ref().map(Thread::activity) {
            Some(Ok(look)) => Activity::of(&look, gil),
            _ => Activity::Unknown,
        }
    }

    /// What each thread is doing, in the order of [`threads`](Self::threads).
    pub fn activities(&self) -> Vec<Activity> {
        (0..self.python.threads.len())
            .map(|index| self.activity(index))
            .collect()
    }

    /// The thread states that hold a lock now: one per lock at most.
    pub fn lock_holders(&self) -> Vec<RemoteAddr> {
        let mut locks: Vec<&Gil> = Vec::new();
        for gil in self.python.gils.values() {
            // Interpreters may share one.
            if !locks.contains(&gil) {
                locks.push(gil);
            }
        }
        locks
            .into_iter()
            .filter_map(|gil| gil.holder(&self.python.memory))
            .collect()
    }

    /// The stack of the thread at `index`, newest frame first; empty when it
    /// runs no Python.
    ///
    /// # Errors
    /// [`Lost`]: a stack that is returned was coherent.
    pub fn stack(&mut self, index: usize, motion: Motion) -> Result<Vec<Frame>, Lost> {
        let python = &mut self.python;
        let Some(thread) = python.threads.get(index) else {
            return Ok(Vec::new());
        };
        let state = thread.python.state;
        let attempts = match motion {
            Motion::Running => ATTEMPTS,
            Motion::Stopped => 1,
        };
        let mut stack = python.stack(&self.process, state, motion);
        for _ in 1..attempts {
            // A code object may be released between the two halves.
            if stack.is_ok() {
                break;
            }
            stack = python.stack(&self.process, state, motion);
        }
        stack
    }
}

impl Python {
    fn find(process: &Process, patience: Duration) -> Result<Self, AttachError> {
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
            gils: HashMap::new(),
            threads: Vec::new(),
            heads: Vec::new(),
            names_read: None,
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

    fn refresh(&mut self, process: &Process) -> Result<(), ReadError> {
        let heads = self.runtime.list_heads(&self.memory)?;
        if heads != self.heads {
            self.list_threads(process)?;
            self.heads = heads;
        }
        if self.paths.is_unknown() {
            // Attached while the interpreter was starting.
            self.paths = ShortPaths::new(self.sys_path());
        }
        let unnamed = self.threads.iter().any(|thread| thread.name.is_none());
        let due = self
            .names_read
            .is_none_or(|read| read.elapsed() >= NAMES_INTERVAL);
        if unnamed && due {
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
            let thread = kept.unwrap_or_else(|| TargetThread {
                python,
                tid,
                name: None,
                os_name: None,
                os: tid.and_then(|tid| Thread::open(process, tid).ok()),
            });
            self.threads.push(thread);
        }
        let interpreters: HashSet<Interpreter> =
            self.threads.iter().map(|t| t.python.interpreter).collect();
        self.gils = interpreters
            .into_iter()
            .filter_map(|interpreter| {
                let gil = Gil::of(&self.runtime, &self.memory, interpreter)?;
                Some((interpreter.addr, gil))
            })
            .collect();
        self.names_read = None;
        Ok(())
    }

    /// Asks each interpreter for the names of its threads; what cannot be read
    /// now may be readable later.
    fn read_names(&mut self) {
        self.names_read = Some(Instant::now());
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
        // An OS thread that runs several interpreters has one name.
        let named: HashMap<Tid, String> = self
            .threads
            .iter()
            .filter_map(|thread| Some((thread.tid?, thread.name.clone()?)))
            .collect();
        for thread in self.threads.iter_mut().filter(|t| t.name.is_none()) {
            let shared = thread.tid.and_then(|tid| named.get(&tid).cloned());
            let comm = || thread.os.as_ref().and_then(|os| os.comm().ok());
            thread.os_name = shared.or_else(comm);
        }
    }

    fn stack(
        &mut self,
        process: &Process,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<Vec<Frame>, Lost> {
        let stack = self.stacks.read(&self.memory, thread, motion);
        self.frames(process, &stack.map_err(Lost::Stack)?)
    }

    fn frames(&mut self, process: &Process, stack: &RawStack) -> Result<Vec<Frame>, Lost> {
        let places = self
            .codes
            .resolve(&self.memory, &stack.frames)
            .map_err(Lost::Code)?;
        let exists = |path: &std::path::Path| process.exists_in_root(path);
        let frame = |place: firefinch_cpython::Place| Frame {
            short_file: self.paths.shorten(&place.code.filename, &exists),
            code: place.code,
            line: place.line,
        };
        Ok(places.into_iter().map(frame).collect())
    }
}
