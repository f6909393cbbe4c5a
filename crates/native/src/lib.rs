//! Native stacks: unwinding by call frame information, and the names of what
//! was found.
//!
//! Nothing here does I/O: memory is read through [`firefinch_memory::Memory`],
//! and object files through [`Objects`], which the caller implements. Both are
//! hostile: every length, every loop and every allocation has a bound.
//!
//! [`Modules`] says which file is mapped where, an [`Unwinder`] turns registers
//! and a copy of the stack into [`Frame`]s, and a [`Symbolizer`] names them.
#![forbid(unsafe_code)]

mod address;
pub mod arch;
mod image;
mod library;
mod mapping;
mod module;
mod modules;
mod object_file;
mod registers;
mod symbols;
mod unwind;

pub use address::{CodeAddress, ImageAddress, InstructionPointer, ReturnAddress};
pub use arch::Architecture;
pub use image::{BuildId, FileIdentity, Image, ImageError, ObjectBytes, ObjectSource};
pub use library::Library;
pub use mapping::{MappedFile, Mapping, Origin};
pub use module::Module;
pub use modules::{Located, Modules, Objects};
pub use registers::{Register, Registers};
pub use symbols::{Candidate, DebugPlaces, NameSource, PerfMap, Proof, Root, Symbol, Symbolizer};
pub use unwind::{Frame, Limits, Outcome, StackCopy, Status, Truncation, Unwinder, Via};
