use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use firefinch_cpython::{
    CodeCache, Gil, Interpreter, ListHeads, MissingField, Motion, PythonThread, Runtime,
    StackReader, ThreadIds,
};
use firefinch_memory::{Memory, ReadError, RemoteAddr};
use firefinch_process::{NsTid, Tid};

use crate::lost::Lost;
use crate::paths::ShortPaths;
use crate::thread::TargetThread;
use crate::threads::{Found, Threads};
use crate::unproved::{Proof, UnprovedStack};

/// The interpreter that runs in the process now; an exec brings a new one.
#[derive(Debug)]
pub(crate) struct Python {
    pub(crate) runtime: Runtime,
    /// `None` while it is lent.
    stacks: Option<StackReader>,
    /// Whether the reader is to tell which loops run the frames.
    with_loops: bool,
    /// Whether stacks say for themselves who holds a lock.
    pub(crate) stacks_tell_gil: bool,
    pub(crate) codes: CodeCache,
    pub(crate) paths: ShortPaths,
    ids: ThreadIds,
    gils: HashMap<RemoteAddr, Gil>,
    /// The same, each once: interpreters may share one.
    locks: Vec<Gil>,
    pub(crate) holders: Vec<RemoteAddr>,
    /// Whether it matters who held a lock at the moment of a stack.
    gil_matters: bool,
    /// When that was found out, where it is not asked at every look.
    held_at: Option<Duration>,
    /// The list heads when the threads were listed: a new thread or
    /// interpreter changes them.
    heads: ListHeads,
    names_read: Option<Instant>,
    /// Whether there are thread states that nobody seemed to run.
    leftovers: bool,
    /// Whether a thread has no name yet.
    unnamed: bool,
    /// The highest number that a thread of the last list has.
    newest: u64,
}

/// Names are looked up again at most this often while some are missing: a
/// thread has its state a moment before `threading` lists it.
const NAMES_INTERVAL: Duration = Duration::from_millis(200);

/// Who holds a lock is believed for so long where it only goes with the samples:
/// shorter than the interval of most recordings, so that those ask at every sample.
const HELD: Duration = Duration::from_micros(900);

impl Python {
    pub(crate) fn new(memory: &dyn Memory, runtime: Runtime) -> Result<Self, MissingField> {
        let stacks = StackReader::new(&runtime)?;
        let mut python = Self {
            stacks_tell_gil: stacks.tells_gil(),
            stacks: Some(stacks),
            with_loops: false,
            codes: CodeCache::new(&runtime)?,
            paths: ShortPaths::default(),
            ids: ThreadIds::new(&runtime),
            runtime,
            gils: HashMap::new(),
            locks: Vec::new(),
            holders: Vec::new(),
            gil_matters: false,
            held_at: None,
            heads: ListHeads::default(),
            names_read: None,
            leftovers: false,
            unnamed: false,
            newest: 0,
        };
        python.paths = ShortPaths::new(python.sys_path(memory));
        Ok(python)
    }

    fn sys_path(&self, memory: &dyn Memory) -> Vec<String> {
        let interpreters = self.runtime.interpreters(memory).unwrap_or_default();
        // The main interpreter was linked first and so is last.
        let main = interpreters.last().copied();
        main.and_then(|main| self.runtime.sys_path(memory, main).ok())
            .unwrap_or_default()
    }

    /// Whether a thread or an interpreter has come since the threads were
    /// listed.
    pub(crate) fn has_new_threads(&self, memory: &dyn Memory) -> bool {
        !self.runtime.same_heads(memory, &self.heads)
    }

    /// Has the threads listed anew.
    pub(crate) fn forget_threads(&mut self) {
        self.heads = ListHeads::default();
    }

    /// Every thread state, with the OS thread where that can be told.
    pub(crate) fn threads(
        &mut self,
        memory: &dyn Memory,
        tids: &firefinch_process::ThreadIds,
    ) -> Result<Vec<Found>, ReadError> {
        // Read first: what comes meanwhile is found at the next look.
        let heads = self.runtime.list_heads(memory)?;
        let threads = self.runtime.threads(memory)?;
        self.heads = heads;
        let known: HashSet<u64> = tids
            .iter()
            .map(|(_, tid)| u64::from(tid.get().unsigned_abs()))
            .collect();
        let ids = self.ids.resolve(memory, &threads, &known);
        let threads = threads.into_iter().zip(ids).map(|(python, id)| {
            let id = id.and_then(|id| i32::try_from(id).ok());
            let tid = id.and_then(|id| tids.tid(NsTid::new(id)?));
            (python, tid)
        });
        let mut threads: Vec<_> = threads.collect();
        self.leftovers = drop_leftovers(&mut threads, tids);
        Ok(threads.into_iter().map(|(p, tid)| (Some(p), tid)).collect())
    }

    /// Whether thread states were left out of the list that nobody seemed to run.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.leftovers
    }

    /// Follows the list of threads: whose locks there are, who has no name, and who is new.
    pub(crate) fn follow(&mut self, memory: &dyn Memory, threads: &Threads) {
        self.gils = interpreters(threads)
            .into_iter()
            .filter_map(|interpreter| {
                let gil = Gil::of(&self.runtime, memory, interpreter)?;
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
        self.unnamed = threads.list().iter().any(is_unnamed);
        self.renew(threads);
    }

    /// A thread state is often made where that of a thread lay which has ended.
    fn renew(&mut self, threads: &Threads) {
        let list = threads.list().iter();
        let new = list.clone().filter(|thread| thread.serial > self.newest);
        if let Some(stacks) = &mut self.stacks {
            for python in new.filter_map(|thread| thread.python.as_ref()) {
                stacks.renew(python.state);
            }
        }
        self.newest = list.map(|thread| thread.serial).max().unwrap_or_default();
    }

    /// Reads names that are missing, unless that was done a moment ago, and
    /// whatever else could not be had while the interpreter was starting.
    pub(crate) fn complete(&mut self, memory: &dyn Memory, threads: &mut Threads) {
        if self.paths.is_unknown() {
            self.paths = ShortPaths::new(self.sys_path(memory));
        }
        let due = self
            .names_read
            .is_none_or(|read| read.elapsed() >= NAMES_INTERVAL);
        if self.unnamed && due {
            self.names_read = Some(Instant::now());
            self.name(memory, threads);
            self.unnamed = threads.list().iter().any(is_unnamed);
        }
    }

    /// Asks each interpreter for the names of its threads; what cannot be read
    /// now may be readable later.
    fn name(&self, memory: &dyn Memory, threads: &mut Threads) {
        let count = threads.list().len();
        let names = |each| {
            let names = self.runtime.thread_names(memory, each, count);
            Some((each, names.ok()?))
        };
        let interpreters = interpreters(threads).into_iter();
        let names: HashMap<Interpreter, _> = interpreters.filter_map(names).collect();
        threads.name(|python| {
            let names = names.get(&python.interpreter)?;
            names.get(&python.ident).cloned()
        });
    }

    /// The lock that a thread runs Python under.
    pub(crate) fn gil_of(&self, thread: &TargetThread) -> Option<&Gil> {
        self.gils.get(&thread.python.as_ref()?.interpreter.addr)
    }

    /// Whether it was found out a moment ago who holds a lock; if not, it is now.
    pub(crate) fn knows_holders(&mut self, time: Duration) -> bool {
        let knows = self
            .held_at
            .is_some_and(|then| time.saturating_sub(then) < HELD);
        if !knows {
            self.held_at = Some(time);
        }
        knows
    }

    /// Whether there is a lock that threads need to run.
    pub(crate) fn has_locks(&self) -> bool {
        !self.locks.is_empty()
    }

    /// Finds out who holds a lock now: one thread state for each at most.
    pub(crate) fn read_holders(&mut self, memory: &dyn Memory) {
        self.holders.clear();
        for lock in &self.locks {
            self.holders.extend(lock.holder(memory));
        }
    }

    /// Whether it matters who held a lock at the moment of a stack.
    pub(crate) fn heed_gil(&mut self, matters: bool) {
        self.gil_matters = matters;
    }

    /// The locks to be read with a stack, if that matters: a moment later somebody
    /// else may hold them. What thread states say of it is not read at each look.
    pub(crate) fn locks_to_read(&self) -> Vec<Gil> {
        match self.gil_matters {
            true => self.locks.clone(),
            false => Vec::new(),
        }
    }

    /// Has stacks tell which evaluation loops run their frames.
    pub(crate) fn tell_loops(&mut self) {
        self.with_loops = true;
        self.stacks = self.stacks.take().map(StackReader::with_loops);
    }

    /// The reader of stacks. One that was lent and not given back is replaced
    /// by one that has to learn anew what it had learned.
    pub(crate) fn reader(&mut self) -> Option<&mut StackReader> {
        if self.stacks.is_none() {
            let stacks = StackReader::new(&self.runtime).ok();
            self.stacks = match self.with_loops {
                true => stacks.map(StackReader::with_loops),
                false => stacks,
            };
        }
        self.stacks.as_mut()
    }

    /// The same to be taken elsewhere.
    pub(crate) fn lend_reader(&mut self) -> Option<StackReader> {
        self.reader()?;
        self.stacks.take()
    }

    /// Takes it back.
    pub(crate) fn give_back(&mut self, stacks: StackReader) {
        self.stacks = Some(stacks);
    }

    /// Brings the known stack of a thread up to date: how many of its oldest
    /// frames are as before.
    pub(crate) fn read_stack(
        &mut self,
        memory: &dyn Memory,
        thread: &mut TargetThread,
        motion: Motion,
    ) -> Result<usize, Lost> {
        let Some(python) = &thread.python else {
            return Ok(0);
        };
        let state = python.state;
        let Some(stacks) = self.reader() else {
            return Ok(0);
        };
        thread.stack.unproved = None;
        let raw = match stacks.read(memory, state, motion) {
            Err(error) => {
                if let Some(unproved) = stacks.take_unproved() {
                    let raw = unproved.stack();
                    let places = self.codes.resolve(memory, raw).map_err(Lost::Code)?;
                    let sure = unproved.sure();
                    let sure = sure.map(|raw| self.codes.resolve(memory, &raw));
                    let sure = sure.transpose().map_err(Lost::Code)?;
                    thread.stack.unproved = Some(UnprovedStack::new(unproved, places, sure));
                }
                return Err(Lost::Stack(error));
            }
            Ok(raw) => raw,
        };
        let update = thread.stack.update(&mut self.codes, memory, &raw);
        update.map_err(Lost::Code)
    }

    /// Whether a stack that was read before is believed by now.
    pub(crate) fn prove(&mut self, memory: &dyn Memory, stack: &mut UnprovedStack) -> Proof {
        let Some(reader) = self.reader() else {
            return Proof::None;
        };
        if !reader.prove(memory, stack.raw()) {
            let rest = stack.raw().is_hopeless().then(|| stack.rest()).flatten();
            return rest.map_or(Proof::None, Proof::Of);
        }
        let places = stack.places().iter().rev();
        let frames = stack.stack().frames.iter().rev();
        let later = |(before, frame)| self.codes.place_later(before, frame);
        match places.zip(frames).map(later).collect() {
            Some(places) => Proof::Of(places),
            None => Proof::Gone,
        }
    }
}

/// To 2.7 a forked process keeps the thread states of all its parent's threads.
/// Where each OS thread is known to run another one, nobody runs these; whether
/// any were dropped. Of several interpreters in one OS thread, which have the same
/// ident, none is.
fn drop_leftovers(
    threads: &mut Vec<(PythonThread, Option<Tid>)>,
    tids: &firefinch_process::ThreadIds,
) -> bool {
    let of = |(_, tid): &(PythonThread, Option<Tid>)| *tid;
    let claimed: HashSet<Tid> = threads.iter().filter_map(of).collect();
    if claimed.len() == threads.len() || !tids.iter().all(|(tid, _)| claimed.contains(&tid)) {
        return false;
    }
    let run = threads.iter().filter(|(_, tid)| tid.is_some());
    let run: HashSet<u64> = run.map(|(python, _)| python.ident).collect();
    let before = threads.len();
    threads.retain(|(python, tid)| tid.is_some() || run.contains(&python.ident));
    threads.len() < before
}

fn interpreters(threads: &Threads) -> HashSet<Interpreter> {
    let threads = threads.list().iter();
    threads
        .filter_map(|thread| Some(thread.python.as_ref()?.interpreter))
        .collect()
}

fn is_unnamed(thread: &TargetThread) -> bool {
    thread.python.is_some() && thread.name.is_none()
}
