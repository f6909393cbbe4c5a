use std::sync::Arc;

use firefinch_memory::RemoteAddr;
use firefinch_native::{CodeAddress, Origin, Outcome, Symbol, Via};

use super::Role;

/// A native stack.
#[derive(Clone, Debug)]
pub struct NativeStack {
    /// Newest first; never empty.
    pub frames: Vec<NativeFrame>,
    /// How it ended, and what was needed for that.
    pub outcome: Outcome,
}

/// One frame of a native stack.
#[derive(Clone, Debug)]
pub struct NativeFrame {
    /// Where it stands.
    pub address: CodeAddress,
    /// Its stack pointer: what it keeps on the stack lies from here to
    /// `caller_sp`.
    pub sp: RemoteAddr,
    /// The stack pointer of its caller, `None` for the oldest frame. After a
    /// signal handler with a stack of its own it may be below `sp`.
    pub caller_sp: Option<RemoteAddr>,
    /// How it was found.
    pub via: Via,
    /// What is known of the address; the same `Arc` for the same address.
    pub place: Arc<NativePlace>,
}

/// What is known of an address.
#[derive(Debug)]
pub struct NativePlace {
    /// The functions there, those inlined first; at least one. The last is the
    /// one that is called.
    pub symbols: Arc<[Symbol]>,
    /// The file's name without its directories, or `[vdso]`, `[anonymous]`.
    pub module: Arc<str>,
    /// What the code is from; `None` where none is mapped.
    pub origin: Option<Origin>,
    /// Where that is in its object, if it has no name and
    /// [`keep_addresses`](super::Native::keep_addresses) was asked for.
    pub address: Option<u64>,
    /// What the function that is called is to the interpreter.
    pub role: Role,
    /// The same of each of `symbols`.
    pub roles: Box<[Role]>,
}
