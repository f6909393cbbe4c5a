use std::collections::{HashMap, HashSet};
use std::fmt;

use firefinch_cpython::{
    Build, CodeCache, FindError, Gil, Image, ImageFiles, Interpreter, MissingField, Motion,
    PythonThread, Runtime, StackError, StackReader, ThreadIds, find,
};
use firefinch_memory::{Memory, ReadError, RemoteAddr};

/// Where to look.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Memory for what follows pointers.
    pub memory: &'a dyn Memory,
    /// The same memory, for what searches blocks of it.
    pub searched: &'a dyn Memory,
    /// What may hold the interpreter, likeliest first.
    pub images: &'a [Image],
    /// Their files.
    pub files: &'a dyn ImageFiles,
    /// The numbers of the process's threads, in its own PID namespace.
    pub native_ids: &'a HashSet<u64>,
}

/// Everything that can be decoded of a process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The interpreter's version, `3.11.7`.
    pub version: String,
    /// `release`, `debug`, `free-threaded` or `free-threaded debug`.
    pub build: String,
    /// How it was found.
    pub found_by: String,
    /// `sys.path` of the main interpreter.
    pub sys_path: Vec<String>,
    /// Its threads, newest first.
    pub threads: Vec<Thread>,
}

/// A thread that has a Python thread state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// The address of its thread state.
    pub state: u64,
    /// The id of its interpreter, from 3.7 on.
    pub interpreter: Option<u64>,
    /// `threading.get_ident()`
    pub ident: u64,
    /// The OS thread, where it could be told.
    pub native_id: Option<u64>,
    /// What the program calls it.
    pub name: Option<String>,
    /// Whether it holds its interpreter's lock.
    pub holds_gil: bool,
    /// Its stack, as often as it was looked at.
    pub looks: Vec<Stack>,
}

/// Frames, newest first, or why there are none.
pub type Stack = Result<Vec<Frame>, String>;

/// One frame of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The function, qualified from 3.11 on.
    pub function: String,
    /// `co_filename`
    pub file: String,
    /// The line, unless the instruction belongs to none.
    pub line: Option<u32>,
}

/// Why nothing could be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserveError {
    /// There is no interpreter.
    Find(FindError),
    /// Its lists cannot be read.
    Read(ReadError),
    /// The layout table has a gap.
    Layout(MissingField),
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Find(e) => e.fmt(f),
            Self::Read(e) => e.fmt(f),
            Self::Layout(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for ObserveError {}

impl From<FindError> for ObserveError {
    fn from(error: FindError) -> Self {
        Self::Find(error)
    }
}

impl From<ReadError> for ObserveError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<MissingField> for ObserveError {
    fn from(error: MissingField) -> Self {
        Self::Layout(error)
    }
}

/// Finds the interpreter and decodes all there is, each stack `looks` times.
///
/// # Errors
/// [`ObserveError`]; what concerns one thread only stands in its place.
pub fn observe(
    source: &Source<'_>,
    motion: Motion,
    looks: usize,
) -> Result<Observation, ObserveError> {
    let memory = source.memory;
    let runtime = find(source.searched, source.images, source.files)?;
    // What a sampler compares to see whether anything is new.
    runtime.list_heads(memory)?;
    let interpreters = runtime.interpreters(memory)?;
    let threads = runtime.threads(memory)?;
    let ids = ThreadIds::new(&runtime).resolve(source.searched, &threads, source.native_ids);
    let names = names(&runtime, memory, &interpreters, threads.len());
    let holders: HashSet<_> = interpreters
        .iter()
        .filter_map(|interpreter| Gil::of(&runtime, memory, *interpreter)?.holder(memory))
        .collect();
    // The main interpreter was linked first and so is last.
    let main = interpreters.last().copied();
    let sys_path = main.and_then(|main| runtime.sys_path(memory, main).ok());
    let mut reader = Reader {
        stacks: StackReader::new(&runtime)?,
        codes: CodeCache::new(&runtime)?,
        memory,
        motion,
    };
    let thread = |(thread, native_id): (&PythonThread, Option<u64>)| Thread {
        state: thread.state.get(),
        interpreter: thread.interpreter.id.map(i64::cast_unsigned),
        ident: thread.ident,
        native_id,
        name: names.get(&(thread.interpreter, thread.ident)).cloned(),
        holds_gil: holders.contains(&thread.state),
        looks: (0..looks).map(|_| reader.stack(thread.state)).collect(),
    };
    Ok(Observation {
        version: runtime.version.to_string(),
        build: build(runtime.layout().build()).to_owned(),
        found_by: runtime.found_by.to_string(),
        sys_path: sys_path.unwrap_or_default(),
        threads: threads.iter().zip(ids).map(thread).collect(),
    })
}

fn build(build: Build) -> &'static str {
    match build {
        Build::Release => "release",
        Build::Debug => "debug",
        Build::FreeThreaded => "free-threaded",
        Build::FreeThreadedDebug => "free-threaded debug",
    }
}

fn names(
    runtime: &Runtime,
    memory: &dyn Memory,
    interpreters: &[Interpreter],
    threads: usize,
) -> HashMap<(Interpreter, u64), String> {
    let mut names = HashMap::new();
    for interpreter in interpreters {
        let known = runtime.thread_names(memory, *interpreter, threads);
        let known = known.unwrap_or_default().into_iter();
        names.extend(known.map(|(ident, name)| ((*interpreter, ident), name)));
    }
    names
}

/// How many moments are looked at for one whose calls are known: what waits for later samples
/// to show its calls waits here for nothing. A slow machine, as an emulated one, takes many to
/// get used to how long a copy of a deep stack takes, and believes none before.
const MOMENTS: usize = 24;

struct Reader<'a> {
    stacks: StackReader,
    codes: CodeCache,
    memory: &'a dyn Memory,
    motion: Motion,
}

impl Reader<'_> {
    fn stack(&mut self, thread: RemoteAddr) -> Stack {
        let mut read = || self.stacks.read(self.memory, thread, self.motion);
        let first = read();
        let stack = (1..MOMENTS).fold(first, |stack, _| match stack {
            Err(StackError::Unproved | StackError::Deferred(_)) => read(),
            stack => stack,
        });
        let stack = stack.map_err(|error| error.to_string())?;
        let places = self.codes.resolve(self.memory, &stack);
        let places = places.map_err(|error| error.to_string())?;
        let frame = |place: firefinch_cpython::Place| Frame {
            function: (place.code.qualified_name.as_ref())
                .unwrap_or(&place.code.name)
                .to_string(),
            file: place.code.filename.to_string(),
            line: place.line,
        };
        Ok(places.into_iter().map(frame).collect())
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("images", &self.images)
            .field("native_ids", &self.native_ids)
            .finish_non_exhaustive()
    }
}
