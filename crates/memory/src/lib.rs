//! Bounded, typed reads of another process's memory.
//!
//! Everything that decodes a target sees it only through [`Memory`]: a live
//! process implements it (in `firefinch-process`), and so does a recorded
//! [`Snapshot`], so that the same decoder runs on both. A [`Recording`] makes
//! one from the other; [`Metered`] counts and limits what is read. Whatever
//! comes out of a read is hostile: callers bound every length and every loop.
#![forbid(unsafe_code)]

mod addr;
mod error;
mod metered;
mod read;
mod recording;
mod snapshot;

pub use addr::RemoteAddr;
pub use error::{ReadError, ReadErrorKind};
pub use metered::{Metered, ReadCost};
pub use read::{Bytes, Memory, Range};
pub use recording::Recording;
pub use snapshot::Snapshot;
