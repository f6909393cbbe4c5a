use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use firefinch_cpython::PythonThread;
use firefinch_process::{AccessError, Process, Question, Thread, ThreadIds, Tid, Watch};

use crate::python::Python;
use crate::state::Activity;
use crate::thread::TargetThread;

/// The threads of a target, and the watch over those that the system knows.
#[derive(Debug)]
pub(crate) struct Threads {
    list: Vec<TargetThread>,
    /// The system's threads under both of their numbers.
    pub(crate) tids: ThreadIds,
    watch: Watch,
    /// For each watched OS thread the places in `list` that it has: several
    /// where it runs several interpreters.
    places_of: Vec<Vec<usize>>,
    /// Threads without an OS thread that could be watched.
    unwatched: Vec<usize>,
    /// Threads of which it is not known that they wait.
    awake: Vec<usize>,
    /// Counts the changes of the list of threads and of their names.
    edition: u64,
    serials: u64,
}

/// A thread as it was found: what Python says of it, and the OS thread.
pub(crate) type Found = (Option<PythonThread>, Option<Tid>);

impl Threads {
    /// Those that the system knows now, and nobody watched yet.
    pub(crate) fn of(process: &Process) -> Result<Self, AccessError> {
        Ok(Self {
            list: Vec::new(),
            tids: process.thread_ids()?,
            watch: Watch::new(),
            places_of: Vec::new(),
            unwatched: Vec::new(),
            awake: Vec::new(),
            edition: 0,
            serials: 0,
        })
    }

    pub(crate) fn list(&self) -> &[TargetThread] {
        &self.list
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut TargetThread> {
        self.list.get_mut(index)
    }

    /// The OS thread that the thread at `index` is, if that is watched, and all
    /// that are the same: more than one where it runs several interpreters.
    pub(crate) fn os_thread(&self, index: usize) -> Option<(&Thread, &[usize])> {
        let watched = self.list.get(index)?.watched?;
        let places = self.places_of.get(watched)?;
        Some((self.watch.thread(watched)?, places))
    }

    /// Whether it is the first of those that are the same OS thread.
    pub(crate) fn is_first(&self, index: usize) -> bool {
        let places = self.os_thread(index).map(|(_, places)| places);
        places.is_none_or(|places| places.first() == Some(&index))
    }

    /// All that are the same OS thread as this one.
    pub(crate) fn of_same<'a>(
        &'a self,
        thread: &'a TargetThread,
    ) -> impl Iterator<Item = &'a TargetThread> {
        let places = thread.watched.and_then(|index| self.places_of.get(index));
        let others = places.into_iter().flatten();
        let others = others.filter_map(|place| self.list.get(*place));
        std::iter::once(thread).chain(others)
    }

    pub(crate) fn awake(&self) -> &[usize] {
        &self.awake
    }

    pub(crate) fn edition(&self) -> u64 {
        self.edition
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The system's threads that were not found otherwise, the first thread of
    /// the process last.
    pub(crate) fn others(&self, process: &Process, found: &[Found]) -> Vec<Found> {
        let known: HashSet<Tid> = found.iter().filter_map(|(_, tid)| *tid).collect();
        let others = self.tids.iter().map(|(tid, _)| tid);
        let mut others: Vec<Tid> = others.filter(|tid| !known.contains(tid)).collect();
        let first = process.pid().leader();
        others.sort_unstable_by_key(|tid| (*tid == first, Reverse(*tid)));
        others.into_iter().map(|tid| (None, Some(tid))).collect()
    }

    /// Whether these are the threads already.
    pub(crate) fn are(&self, found: &[Found]) -> bool {
        let known = self.list.iter().map(|thread| (thread.python, thread.tid));
        known.eq(found.iter().copied())
    }

    /// Makes these the threads. Those that were there before stay what they are.
    pub(crate) fn set(&mut self, process: &Process, found: impl IntoIterator<Item = Found>) {
        let old = std::mem::take(&mut self.list).into_iter();
        let mut old: HashMap<_, _> = old.map(|thread| (thread.key(), thread)).collect();
        for (python, tid) in found {
            let key = (python.map(|python| python.state), tid);
            let kept = old.remove(&key).filter(|kept| kept.python == python);
            let thread = kept.unwrap_or_else(|| {
                self.serials += 1;
                TargetThread::new(python, tid, self.serials)
            });
            self.list.push(thread);
        }
        self.watch_them(process);
        self.edition += 1;
    }

    fn watch_them(&mut self, process: &Process) {
        let tids = self.list.iter().filter_map(|thread| thread.tid);
        self.watch.set_threads(process, tids);
        self.places_of.clear();
        self.unwatched.clear();
        for (index, thread) in self.list.iter_mut().enumerate() {
            thread.watched = thread.tid.and_then(|tid| self.watch.index(tid));
            match thread.watched {
                Some(watched) => {
                    let len = self.places_of.len().max(watched + 1);
                    self.places_of.resize_with(len, Vec::new);
                    if let Some(places) = self.places_of.get_mut(watched) {
                        places.push(index);
                    }
                }
                None => self.unwatched.push(index),
            }
            // A number may have gone to another OS thread.
            thread.stack.rest = None;
        }
    }

    /// Gives threads the names that the program knows them by, and those
    /// without one the system's.
    pub(crate) fn name(&mut self, name: impl Fn(&PythonThread) -> Option<String>) {
        self.edition += 1;
        for thread in &mut self.list {
            let known = thread.python.as_ref().and_then(&name);
            thread.name = known.or_else(|| thread.name.take());
        }
        // An OS thread that runs several interpreters has one name.
        let named = self.list.iter();
        let named = named.filter_map(|thread| Some((thread.tid?, thread.name.clone()?)));
        let named: HashMap<Tid, String> = named.collect();
        for thread in self.list.iter_mut().filter(|t| t.name.is_none()) {
            let shared = thread.tid.and_then(|tid| named.get(&tid).cloned());
            let os = thread.watched.and_then(|index| self.watch.thread(index));
            let comm = || os.and_then(|os| os.comm().ok());
            thread.os_name = shared.or_else(comm);
        }
    }

    /// Finds out what threads are doing; whether one of them has ended.
    pub(crate) fn look(
        &mut self,
        process: &Process,
        python: Option<&Python>,
        question: Question,
    ) -> bool {
        let gone = self.watch.look(process, question);
        for watched in self.watch.looked_at() {
            for index in self.places_of.get(*watched).into_iter().flatten() {
                let Some(thread) = self.list.get_mut(*index) else {
                    continue;
                };
                let gil = python.and_then(|python| python.gil_of(thread));
                thread.activity = Activity::of(&self.watch.seen(*watched), gil);
            }
        }
        self.awake.clone_from(&self.unwatched);
        for watched in self.watch.awake() {
            let places = self.places_of.get(*watched);
            self.awake.extend(places.into_iter().flatten());
        }
        gone
    }

    /// The nanoseconds that the thread at `index` has been on a CPU in all its
    /// life. Of an OS thread that runs several interpreters only the newest
    /// thread state has them.
    pub(crate) fn run_ns(&self, index: usize) -> Option<u64> {
        let watched = self.list.get(index)?.watched?;
        let newest = self.places_of.get(watched)?.first()?;
        (*newest == index)
            .then(|| self.watch.run_ns(watched))
            .flatten()
    }

    /// A number for the rest that the thread at `index` is in, see
    /// [`Watch::rest`].
    pub(crate) fn rest(&self, index: usize) -> Option<u64> {
        self.watch.rest(self.list.get(index)?.watched?)
    }
}
