//! Finding the interpreter in a process, whatever its build.
//!
//! In order, each step only when the one before found nothing: exported
//! symbols, read from the target's memory (so a deleted or replaced file makes
//! no difference); sections and local symbols of the files; the cookie of
//! `_Py_DebugOffsets` in writable memory; a pointer in writable memory behind
//! which everything has the shape of an interpreter.

mod error;
mod file;
mod image;
mod landmarks;
mod machine_code;
mod scan;

use std::cell::Cell;
use std::fmt;

use firefinch_memory::{Memory, Metered, ReadCost, RemoteAddr};

pub use error::FindError;
pub use file::ReadSeek;
use image::ElfImage;
use landmarks::{Landmarks, exported, in_file};

use crate::layout::{Build, DebugOffsetsHeader, Field, Layout, Version};
use crate::runtime::Runtime;

/// One file mapped into the target, a candidate for holding the interpreter.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where its offset 0 is mapped.
    pub base: RemoteAddr,
    /// Its path, for messages and for guessing the likeliest first.
    pub name: String,
}

/// Opens the files of images, where they can still be had.
pub trait ImageFiles {
    /// The file of one of the images given to [`find`].
    fn open(&self, image: &Image) -> Option<Box<dyn ReadSeek>>;
}

/// How an interpreter was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// An exported symbol, read from memory.
    ExportedSymbol,
    /// The section `.PyRuntime` of the file.
    Section,
    /// A local symbol of the file.
    FileSymbol,
    /// The cookie of the debug offsets.
    Cookie,
    /// The shape of the data behind a pointer.
    Shape,
}

impl fmt::Display for FoundBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ExportedSymbol => "exported symbol",
            Self::Section => "section .PyRuntime",
            Self::FileSymbol => "symbol table of the file",
            Self::Cookie => "debug-offsets cookie in memory",
            Self::Shape => "shape of the data in memory",
        })
    }
}

/// What one search may cost: about two seconds. Images may be any number, and claim to
/// be huge, and look as if they were full of interpreters; what is likely is looked at first.
const MAX_COST: ReadCost = ReadCost {
    reads: 1 << 20,
    bytes: 4 << 30,
    longest: 64 << 20,
};

/// Finds the interpreter in one of `images`, which the caller orders by
/// likelihood: the executable first, then files named after Python.
///
/// # Errors
/// [`FindError`]; `NotReady` is worth a second try a little later.
pub fn find(
    memory: &dyn Memory,
    images: &[Image],
    files: &dyn ImageFiles,
) -> Result<Runtime, FindError> {
    let memory: &dyn Memory = &Metered::new(memory, MAX_COST);
    let left = Cell::new(file::MAX_READ);
    let elves: Vec<_> = images
        .iter()
        .enumerate()
        .filter_map(|(index, image)| Some((index, ElfImage::read(memory, image.base)?)))
        .collect();
    // A later image may hold the real one, so an error is kept, not returned.
    let mut failure = FindError::NotPython;
    let mut try_landmarks =
        |elf: &ElfImage, landmarks: Landmarks| match resolve(memory, elf, &landmarks) {
            Ok(runtime) => Some(runtime),
            Err(error) => {
                if failure == FindError::NotPython {
                    failure = error;
                }
                None
            }
        };
    for (_, elf) in &elves {
        if let Some(landmarks) = exported(memory, elf)
            && let Some(runtime) = try_landmarks(elf, landmarks)
        {
            return Ok(runtime);
        }
    }
    for (index, elf) in &elves {
        let likely = *index == 0 || images[*index].name.contains("python");
        if likely
            && let Some(file) = files.open(&images[*index])
            && let Some(landmarks) = in_file(memory, elf, file, &left)
            && let Some(runtime) = try_landmarks(elf, landmarks)
        {
            return Ok(runtime);
        }
    }
    for (_, elf) in &elves {
        if let Some(runtime) = scan::cookie(memory, elf) {
            let landmarks = Landmarks {
                runtime: Some(runtime),
                ..Landmarks::none(FoundBy::Cookie)
            };
            if let Some(runtime) = try_landmarks(elf, landmarks) {
                return Ok(runtime);
            }
        }
    }
    // Where a landmark was found, what it leads to is the truth: a runtime that
    // is not ready yet has shapes all over it that mean nothing.
    if failure != FindError::NotPython {
        return Err(failure);
    }
    for (_, elf) in &elves {
        if let Some(version) = scan::version(memory, elf)
            && let Some(runtime) = by_shape(memory, elf, version)
        {
            return Ok(runtime);
        }
    }
    Err(failure)
}

/// Turns landmarks into a runtime whose shape has been checked.
fn resolve(
    memory: &dyn Memory,
    elf: &ElfImage,
    landmarks: &Landmarks,
) -> Result<Runtime, FindError> {
    if let Some(address) = landmarks.runtime
        && let Some(header) = debug_header(memory, address)
    {
        return with_debug_offsets(memory, address, header, landmarks);
    }
    let version = landmarks
        .version
        .or_else(|| scan::version(memory, elf))
        .ok_or(FindError::NotReady(None))?;
    if !Layout::known_versions().contains(&(version.major, version.minor)) {
        return Err(FindError::Unsupported(version));
    }
    // Which build it is shows in the data; a symbol merely says what to try first.
    let mut builds = Build::ALL.to_vec();
    if let Some(debug) = landmarks.debug {
        builds.sort_by_key(|b| b.is_debug() != debug);
    }
    let mut failure = FindError::Unrecognised(version);
    for build in builds {
        let Some(layout) = Layout::of(version, build) else {
            continue;
        };
        match runtime(memory, version, layout, landmarks) {
            Ok(runtime) => return Ok(runtime),
            Err(FindError::NotReady(v)) => failure = FindError::NotReady(v),
            Err(_) => {}
        }
    }
    Err(failure)
}

fn debug_header(memory: &dyn Memory, address: RemoteAddr) -> Option<DebugOffsetsHeader> {
    let mut bytes = [0; DebugOffsetsHeader::SIZE];
    memory.read(address, &mut bytes).ok()?;
    DebugOffsetsHeader::parse(&bytes)
}

fn with_debug_offsets(
    memory: &dyn Memory,
    address: RemoteAddr,
    header: DebugOffsetsHeader,
    landmarks: &Landmarks,
) -> Result<Runtime, FindError> {
    let version = header.version;
    let size = header.table_size().map_err(FindError::DebugOffsets)?;
    let bytes = memory
        .read_vec(address, size as u64, 64 << 10)
        .map_err(|_| FindError::Unrecognised(version))?;
    let mut flags = [false, true];
    if landmarks.debug == Some(true) {
        flags.reverse();
    }
    let mut failure = FindError::Unrecognised(version);
    for debug in flags {
        let layout =
            Layout::with_debug_offsets(header, debug, &bytes).map_err(FindError::DebugOffsets)?;
        match runtime(memory, version, layout, landmarks) {
            Ok(runtime) => return Ok(runtime),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn runtime(
    memory: &dyn Memory,
    version: Version,
    layout: Layout,
    landmarks: &Landmarks,
) -> Result<Runtime, FindError> {
    let head = match (landmarks.head, landmarks.runtime) {
        (Some(head), _) => head,
        (None, Some(runtime)) => {
            runtime.offset(layout.need(Field::RuntimeInterpretersHead)? as u64)
        }
        (None, None) => return Err(FindError::NotPython),
    };
    let runtime = Runtime {
        version,
        found_by: landmarks.found_by,
        address: landmarks.runtime,
        head,
        current_thread: landmarks.current_thread,
        code_type: landmarks.code_type,
        layout,
    };
    scan::check_shape(memory, &runtime)?;
    Ok(runtime)
}

/// The last resort: a pointer behind which everything fits.
fn by_shape(memory: &dyn Memory, elf: &ElfImage, version: Version) -> Option<Runtime> {
    for build in Build::ALL {
        let Some(layout) = Layout::of(version, build) else {
            continue;
        };
        let in_runtime = layout.get(Field::RuntimeInterpretersHead);
        for head in scan::interpreter_pointers(memory, elf, &layout) {
            let landmarks = Landmarks {
                head: Some(head),
                runtime: in_runtime
                    .map(|offset| RemoteAddr::new(head.get().wrapping_sub(offset as u64))),
                ..Landmarks::none(FoundBy::Shape)
            };
            if let Ok(found) = runtime(memory, version, layout.clone(), &landmarks) {
                return Some(found);
            }
        }
    }
    None
}
