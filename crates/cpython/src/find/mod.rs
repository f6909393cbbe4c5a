//! Finding the interpreter in a process, whatever its build.
//!
//! In order, each step only when the one before found nothing: exported
//! symbols, read from the target's memory (so a deleted or replaced file makes
//! no difference); sections and local symbols of the files; the cookie of
//! `_Py_DebugOffsets` in writable memory; a pointer in writable memory behind
//! which everything has the shape of an interpreter.

mod file;
mod image;
mod machine_code;
mod scan;

use std::cell::Cell;
use std::fmt;

use firefinch_memory::{Memory, Metered, ReadCost, RemoteAddr};

use file::FileSymbols;
pub use file::ReadSeek;
use image::ElfImage;

use crate::layout::{
    Build, DebugOffsetsError, DebugOffsetsHeader, Field, Layout, MissingField, Version,
};
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

/// Why no interpreter can be read in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindError {
    /// Nothing in any mapped file looks like CPython.
    NotPython,
    /// CPython is there, but has no interpreter yet, or no more.
    NotReady(Option<Version>),
    /// A version without a layout.
    Unsupported(Version),
    /// The target's own offsets are refused.
    DebugOffsets(DebugOffsetsError),
    /// The layout lacks a field; a defect of the table.
    Layout(MissingField),
    /// The version is known, but nothing has the shape it should have.
    Unrecognised(Version),
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPython => f.write_str("no Python interpreter in the process"),
            Self::NotReady(Some(v)) => write!(f, "Python {v} has no interpreter running"),
            Self::NotReady(None) => f.write_str("Python has no interpreter running"),
            Self::Unsupported(v) => write!(f, "Python {v} is not supported"),
            Self::DebugOffsets(e) => e.fmt(f),
            Self::Layout(e) => e.fmt(f),
            Self::Unrecognised(v) => {
                write!(f, "Python {v}, but its data have an unknown shape")
            }
        }
    }
}

impl std::error::Error for FindError {}

impl From<MissingField> for FindError {
    fn from(error: MissingField) -> Self {
        Self::Layout(error)
    }
}

/// The symbols looked for in the symbol table of a file.
const FILE_SYMBOLS: &[&str] = &[
    RUNTIME,
    HEAD_FUNCTION,
    "interp_head",
    CURRENT_THREAD,
    CODE_TYPE,
    VERSION,
    DEBUG_ONLY,
];
const RUNTIME: &str = "_PyRuntime";
const HEAD_FUNCTION: &str = "PyInterpreterState_Head";
const CURRENT_THREAD: &str = "_PyThreadState_Current";
const CODE_TYPE: &str = "PyCode_Type";
/// `const unsigned long Py_Version` (`Python/getversion.c`, 3.11 and later).
const VERSION: &str = "Py_Version";
/// Exists only with `Py_REF_DEBUG` (`Objects/object.c`), which `Py_DEBUG` implies.
const DEBUG_ONLY: &str = "_Py_NegativeRefcount";

/// Where an interpreter's parts were found in one image.
#[derive(Debug)]
struct Landmarks {
    found_by: FoundBy,
    /// `_PyRuntime`, from 3.7 on.
    runtime: Option<RemoteAddr>,
    /// The variable that points to the first interpreter, where it is known by itself.
    head: Option<RemoteAddr>,
    current_thread: Option<RemoteAddr>,
    code_type: Option<RemoteAddr>,
    version: Option<Version>,
    debug: Option<bool>,
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

impl Landmarks {
    fn none(found_by: FoundBy) -> Self {
        Self {
            found_by,
            runtime: None,
            head: None,
            current_thread: None,
            code_type: None,
            version: None,
            debug: None,
        }
    }
}

fn read_version(memory: &dyn Memory, symbol: Option<RemoteAddr>) -> Option<Version> {
    Version::from_hex(memory.read_u32(symbol?).ok()?)
}

fn exported(memory: &dyn Memory, elf: &ElfImage) -> Option<Landmarks> {
    let runtime = elf.symbol(memory, RUNTIME);
    let head = match runtime {
        Some(_) => None,
        None => Some(machine_code::returned_variable(
            memory,
            elf.symbol(memory, HEAD_FUNCTION)?,
        )?),
    };
    Some(Landmarks {
        found_by: FoundBy::ExportedSymbol,
        runtime,
        head,
        current_thread: elf.symbol(memory, CURRENT_THREAD),
        code_type: elf.symbol(memory, CODE_TYPE),
        version: read_version(memory, elf.symbol(memory, VERSION)),
        debug: Some(elf.symbol(memory, DEBUG_ONLY).is_some()),
    })
}

fn in_file(
    memory: &dyn Memory,
    elf: &ElfImage,
    file: Box<dyn ReadSeek>,
    left: &Cell<u64>,
) -> Option<Landmarks> {
    let symbols = FileSymbols::read(file, elf.bias, FILE_SYMBOLS, left);
    let by_symbol = symbols.symbol(RUNTIME);
    let runtime = symbols.runtime_section.or(by_symbol);
    let head = symbols.symbol("interp_head");
    if runtime.is_none() && head.is_none() {
        return None;
    }
    Some(Landmarks {
        found_by: if symbols.runtime_section.is_some() {
            FoundBy::Section
        } else {
            FoundBy::FileSymbol
        },
        runtime,
        head,
        current_thread: symbols.symbol(CURRENT_THREAD),
        code_type: symbols.symbol(CODE_TYPE),
        version: read_version(memory, symbols.symbol(VERSION)),
        debug: by_symbol.map(|_| symbols.symbol(DEBUG_ONLY).is_some()),
    })
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
