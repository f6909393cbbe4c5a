//! One Linux process seen from outside: memory, mappings, threads, stops, namespaces.
//!
//! Nothing here writes into the target. A [`Process`] is bound to one process
//! by file descriptors, never by its number alone, so a reused PID is an error
//! and not another process. Text from `/proc` is partly chosen by the target
//! (names, paths) and is parsed as hostile. This is the only crate of the
//! workspace with `unsafe`; all of it is in `sys.rs`.

mod access;
mod error;
mod maps;
mod memory;
mod module;
mod pid;
mod process;
mod procfs;
mod root;
mod stat;
mod sys;

pub use access::{AccessError, Cause};
pub use error::{Errno, OpenError, Step};
pub use maps::{Backing, Device, Mapping, Perms};
pub use memory::{Cost, Method, ProcessMemory};
pub use module::Module;
pub use pid::{NsTid, Pid, Tid};
pub use process::{ExePath, Process};
pub use stat::{StartTime, TaskState};
