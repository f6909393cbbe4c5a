use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use firefinch_cpython::{FindError, Image, ImageFiles, MissingField, ReadSeek, Runtime, find};
use firefinch_memory::Memory;
use firefinch_process::{AccessError, Mapping, Module, OpenError, Process, ProcessMemory};
use nix::errno::Errno;

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

/// Finds the interpreter of `process`, waiting up to `patience` for one that
/// is still starting.
pub(crate) fn find_runtime(
    process: &Process,
    patience: Duration,
) -> Result<(ProcessMemory, Runtime), AttachError> {
    let begun = Instant::now();
    loop {
        let error = match look(process) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        // Between fork and the end of exec nearly anything may be refused.
        let passing = match &error {
            AttachError::NoInterpreter { .. } => true,
            AttachError::Access(access) => {
                let (fault, io) = (Errno::EFAULT as i32, Errno::EIO as i32);
                access.is_gone() || matches!(access.errno.raw(), e if e == fault || e == io)
            }
            _ => false,
        };
        let waited = begun.elapsed();
        if !passing || waited >= patience || !process.is_alive() {
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

fn look(process: &Process) -> Result<(ProcessMemory, Runtime), AttachError> {
    let mappings = process.maps()?;
    let memory = process.memory()?;
    let candidates = Candidates::of(process, &mappings);
    match find(&memory as &dyn Memory, candidates.images(), &candidates) {
        Ok(runtime) => Ok((memory, runtime)),
        Err(error) => Err(AttachError::NoInterpreter {
            error,
            exe: process.exe().ok().map(|exe| exe.path.display().to_string()),
            waited: Duration::ZERO,
        }),
    }
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
