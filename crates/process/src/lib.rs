//! One Linux process seen from outside: memory, mappings, threads, stops, namespaces.
//!
//! Nothing here writes into the target. A [`Process`] is bound to one process
//! by file descriptors. Where the kernel takes a number only, it is seen to
//! afterwards that it was that process's still: who was attached to, whose child
//! was opened, that the memory read is still there ([`ProcessMemory::image_gone`]).
//! So a reused PID is an error and not another process. Text from `/proc` is partly chosen by the target
//! (names, paths) and is parsed as hostile. This is the only crate of the
//! workspace with `unsafe`; all of it is in `sys.rs`.

mod access;
mod bound;
mod children;
mod container;
mod diagnosis;
mod error;
mod kept;
mod kernel_stack;
mod list;
mod mapping;
mod maps;
mod memory;
mod module;
mod namespace;
mod near;
mod owner;
mod pid;
mod process;
mod procfs;
mod root;
mod running;
mod schedstat;
mod stat;
mod stop;
mod sys;
mod syscall;
mod thread;
mod wake;
mod walk;
mod watch;

pub use access::AccessError;
pub use children::{Births, Children, descendants, open_child};
pub use container::{ContainerId, Place};
pub use diagnosis::{Capabilities, Cause, Diagnosis, OwnFacts, Probes, TargetFacts};
pub use error::{Errno, OpenError, Step};
pub use kept::most_processes;
pub use list::list;
pub use mapping::{Backing, Device, Mapping, Perms};
pub use memory::{Cost, Method, ProcessMemory};
pub use module::Module;
pub use namespace::ThreadIds;
pub use near::Near;
pub use owner::{Gid, Owner, Uid};
pub use pid::{NsTid, ParseIdError, Pid, Tid};
pub use process::{ExePath, Process};
pub use root::open_regular;
pub use schedstat::SchedStat;
pub use stat::{StartTime, TaskState};
pub use stop::{StopFailure, Stopped, StoppedThread, Stopper, Visit};
pub use sys::REGISTERS_LEN;
pub use syscall::{SyscallNumber, syscall_name};
pub use thread::{Activity, RunState, Syscall, Thread};
pub use wake::wake_promptly;
pub use watch::{Look, Question, Watch};
