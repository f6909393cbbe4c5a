use std::cell::Cell;

use firefinch_memory::{Memory, RemoteAddr};

use super::file::FileSymbols;
use super::image::ElfImage;
use super::{FoundBy, ReadSeek, machine_code};
use crate::layout::Version;

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
pub(super) struct Landmarks {
    pub(super) found_by: FoundBy,
    /// `_PyRuntime`, from 3.7 on.
    pub(super) runtime: Option<RemoteAddr>,
    /// The variable that points to the first interpreter, where it is known by itself.
    pub(super) head: Option<RemoteAddr>,
    pub(super) current_thread: Option<RemoteAddr>,
    pub(super) code_type: Option<RemoteAddr>,
    pub(super) version: Option<Version>,
    pub(super) debug: Option<bool>,
}

impl Landmarks {
    pub(super) fn none(found_by: FoundBy) -> Self {
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

/// By what the image exports.
pub(super) fn exported(memory: &dyn Memory, elf: &ElfImage) -> Option<Landmarks> {
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

/// By what the file of the image says.
pub(super) fn in_file(
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
