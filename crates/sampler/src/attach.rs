use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use firefinch_cpython::{FindError, Image, ImageFiles, MissingField, ReadSeek, Runtime, find};
use firefinch_memory::Memory;
use firefinch_process::{AccessError, Mapping, Module, OpenError, Process, ProcessMemory};
use nix::errno::Errno;

/// Which stacks of a process are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stacks {
    /// Python's only: a process without an interpreter is refused.
    Python,
    /// Python's, or native ones where there is no interpreter.
    PythonOrNative,
    /// Native ones, with Python's in them where there is an interpreter.
    Merged,
}

/// Why a process cannot be profiled.
#[derive(Debug)]
pub enum AttachError {
    /// The process could not be opened.
    Open(OpenError),
    /// Something about it may not be read.
    Access(AccessError),
    /// No interpreter could be found; what the process is instead.
    NoInterpreter {
        /// Why.
        error: FindError,
        /// The path of its executable, if it could be read.
        exe: Option<String>,
        /// How long was waited for an interpreter to start.
        waited: Duration,
    },
    /// The layout table lacks a field.
    Layout(MissingField),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(e) => e.fmt(f),
            Self::Access(e) => e.fmt(f),
            Self::NoInterpreter { error, .. } => error.fmt(f),
            Self::Layout(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for AttachError {}

impl AttachError {
    /// Whether native stacks can be had, as nothing in the process runs Python
    /// now.
    pub fn runs_no_python(&self) -> bool {
        let found = match self {
            Self::NoInterpreter { error, .. } => error,
            _ => return false,
        };
        matches!(found, FindError::NotPython | FindError::NotReady(_))
    }

    /// Whether time may heal it: an interpreter may be about to start, and between
    /// fork and the end of exec nearly anything may be refused.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoInterpreter { .. } => true,
            Self::Access(access) => {
                let (fault, io) = (Errno::EFAULT as i32, Errno::EIO as i32);
                access.is_gone() || matches!(access.errno.raw(), e if e == fault || e == io)
            }
            Self::Open(_) | Self::Layout(_) => false,
        }
    }
}

impl From<OpenError> for AttachError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<AccessError> for AttachError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<MissingField> for AttachError {
    fn from(error: MissingField) -> Self {
        Self::Layout(error)
    }
}

/// Between two looks for an interpreter that is still starting.
const RETRY: Duration = Duration::from_millis(2);

/// A program's memory, and its interpreter if it has one.
pub(crate) type Found = (ProcessMemory, Option<Runtime>);

/// Finds the interpreter of `process`, waiting up to `patience` for one that
/// is still starting: a program that does not look like Python is not waited
/// for where native stacks will do.
pub(crate) fn find_runtime(
    process: &Process,
    stacks: Stacks,
    patience: Duration,
) -> Result<Found, AttachError> {
    let begun = Instant::now();
    loop {
        let error = match look(process, stacks) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let waited = begun.elapsed();
        if !error.may_pass() || waited >= patience || !process.is_alive() {
            return Err(match error {
                AttachError::NoInterpreter { error, exe, .. } => {
                    AttachError::NoInterpreter { error, exe, waited }
                }
                other => other,
            });
        }
        std::thread::sleep(RETRY);
    }
}

fn look(process: &Process, stacks: Stacks) -> Result<Found, AttachError> {
    let mappings = process.maps()?;
    let memory = process.memory()?;
    let candidates = Candidates::of(process, &mappings);
    match find(&memory as &dyn Memory, candidates.images(), &candidates) {
        Ok(runtime) => Ok((memory, Some(runtime))),
        Err(FindError::NotPython)
            if stacks != Stacks::Python && !candidates.are_called_python() =>
        {
            Ok((memory, None))
        }
        Err(error) => Err(AttachError::NoInterpreter {
            error,
            exe: process.exe().ok().map(|exe| exe.path.display().to_string()),
            waited: Duration::ZERO,
        }),
    }
}

/// Finds the interpreter among what is mapped now.
pub(crate) fn find_in(
    process: &Process,
    memory: &ProcessMemory,
    mappings: &[Mapping],
) -> Result<Runtime, FindError> {
    let candidates = Candidates::of(process, mappings);
    find(memory, candidates.images(), &candidates)
}

/// What is mapped into a process and may hold its interpreter, with the files.
#[derive(Debug)]
pub struct Candidates<'a> {
    process: &'a Process,
    modules: Vec<Module>,
    images: Vec<Image>,
}

impl<'a> Candidates<'a> {
    /// The executable files among what is mapped.
    pub fn of(process: &'a Process, mappings: &[Mapping]) -> Self {
        let mut modules = process.modules_of(mappings);
        modules.sort_by_key(|module| {
            let named = is_named_python(&module.path);
            // The executable first, then what is called Python.
            (!module.is_exe, !named)
        });
        modules.retain(Module::is_executable);
        Self {
            images: modules.iter().filter_map(image).collect(),
            process,
            modules,
        }
    }

    /// Whether one of the files has a name that makes an interpreter likely.
    fn are_called_python(&self) -> bool {
        let mut modules = self.modules.iter();
        modules.any(|module| is_named_python(&module.path))
    }

    /// They, the likeliest first.
    pub fn images(&self) -> &[Image] {
        &self.images
    }
}

fn is_named_python(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().contains("python"))
}

fn image(module: &Module) -> Option<Image> {
    let first = module.mappings.iter().find(|m| m.offset == 0)?;
    let name = module.path.file_name().unwrap_or_default();
    Some(Image {
        base: first.start,
        name: name.to_string_lossy().into_owned(),
    })
}

impl ImageFiles for Candidates<'_> {
    fn open(&self, image: &Image) -> Option<Box<dyn ReadSeek>> {
        let module = self.modules.iter().find(|module| {
            let starts = |m: &Mapping| m.start == image.base;
            module.mappings.iter().any(starts)
        })?;
        let file = self.process.open_module(module).ok()?;
        Some(Box::new(file))
    }
}
