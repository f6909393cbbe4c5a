//! What a CPython interpreter is doing, read from memory alone.
//!
//! [`find`] finds the runtime in a process, [`Runtime::threads`] its threads,
//! [`StackReader`] a thread's stack as addresses, [`CodeCache`] the names and
//! lines behind them, [`Gil`] who holds the lock. There is no I/O here beyond
//! [`Memory`](firefinch_memory::Memory) and the object files it is handed, so
//! everything runs on a recorded snapshot as on a live process. Every value
//! comes from the target and is treated as hostile: lengths and loops are
//! bounded, arithmetic is checked, and what does not fit is an error.
#![forbid(unsafe_code)]

mod code;
mod find;
mod frames;
mod gil;
mod layout;
mod lines;
mod names;
mod native_names;
mod object;
mod runtime;
mod thread_id;

pub use code::{CodeCache, CodeError, CodeObject, Place, Resolved};
pub use find::{FindError, FoundBy, Image, ImageFiles, ReadSeek, find};
pub use frames::{
    CodeCounter, Leaf, MAX_FRAMES, Motion, Position, RawFrame, RawLoop, RawStack, Reach,
    StackError, StackReader, Unproved,
};
pub use gil::Gil;
pub use layout::{Build, DebugOffsetsError, Field, Layout, MissingField, ReleaseLevel, Version};
pub use lines::LineTable;
pub use native_names::NativeRole;
pub use object::ObjectError;
pub use runtime::{Interpreter, ListHeads, PythonThread, Runtime};
pub use thread_id::ThreadIds;
