//! Bounded, typed reads of another process's memory.
//!
//! Everything that decodes a target sees it only through [`Memory`]: a live
//! process implements it (in `firefinch-process`), and so does a recorded
//! [`Snapshot`], so that the same decoder runs on both. Whatever comes out of
//! a read is hostile: callers bound every length and every loop.
#![forbid(unsafe_code)]

mod addr;
mod error;
mod read;
mod snapshot;

pub use addr::RemoteAddr;
pub use error::{ReadError, ReadErrorKind};
pub use read::{Bytes, Memory, Range};
pub use snapshot::Snapshot;
