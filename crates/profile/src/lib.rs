//! The data model of a profile: strings, frames, stacks, samples, threads.
//!
//! A [`Profile`] is filled by a sampler and read by reports; it knows neither
//! Linux nor Python. Everything that repeats is stored once and named by a
//! small `Copy` handle: [`StringId`], [`FrameId`], [`StackId`], [`ProcessId`],
//! [`ThreadId`]. A stack is a path in a prefix tree, so that a recursion of
//! 20,000 frames seen a thousand times costs 20,000 nodes, and nothing here
//! recurses over it. Samples are weighted by the time that passed, and a
//! thread that stands still costs one [`Run`] however often it was looked at.
//!
//! A handle is valid in the profile that made it. Using it with another
//! profile gives an unrelated entry or panics.
#![forbid(unsafe_code)]

mod frame;
mod hot;
mod id;
mod interner;
mod loss;
mod meta;
mod profile;
mod sample;
mod stack;
mod strings;
mod thread;
mod times;

pub use frame::{Frame, FrameKind};
pub use hot::Hot;
pub use id::{FrameId, ProcessId, StackId, StringId, ThreadId};
pub use loss::{LossReason, Losses};
pub use meta::Meta;
pub use profile::Profile;
pub use sample::{Run, Sample, ThreadState};
pub use stack::{LeafToRoot, Stack};
pub use thread::{Process, Thread};
pub use times::Times;
