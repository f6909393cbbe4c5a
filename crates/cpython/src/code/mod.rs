//! Code objects: decoded once, cached by address, and checked at each use.

mod cache;
mod compare;
mod decode;
mod kept;
mod layout;
mod resolved;

use std::fmt;
use std::sync::Arc;

use firefinch_memory::{ReadError, RemoteAddr};

use crate::lines::LineTable;
use crate::object::ObjectError;

pub use cache::CodeCache;
pub use resolved::Resolved;

/// What a code object says about its function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    /// `co_name`
    pub name: Arc<str>,
    /// `co_qualname`, from 3.11 on: with its classes and enclosing functions.
    pub qualified_name: Option<Arc<str>>,
    /// `co_filename`, as the compiler was given it.
    pub filename: Arc<str>,
    /// `co_firstlineno`
    pub first_line: u32,
    lines: LineTable,
}

/// Where a frame stands, in the source's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function.
    pub code: Arc<CodeObject>,
    /// The line, or `None` at an instruction that belongs to none.
    pub line: Option<u32>,
}

/// Why the code object of a frame could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// There is no code object at the address.
    NotCode(RemoteAddr),
    /// The frame stands at an instruction that its code does not have.
    OutsideCode(RemoteAddr),
    /// A part of it could not be decoded.
    Object(ObjectError),
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCode(addr) => write!(f, "no code object at {addr}"),
            Self::OutsideCode(addr) => write!(f, "an instruction outside the code at {addr}"),
            Self::Object(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodeError {}

impl From<ObjectError> for CodeError {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl From<ReadError> for CodeError {
    fn from(error: ReadError) -> Self {
        Self::Object(error.into())
    }
}
