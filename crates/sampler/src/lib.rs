//! When to look and at whom.
//!
//! [`Target::attach`] finds the interpreter in a process and keeps what is
//! known of it; [`Target::threads`] and [`Target::stack`] look at it once, as
//! `dump` does; a [`Recorder`] looks at it at every tick of a clock, counts
//! what is missed and lost, and fills a profile.
#![forbid(unsafe_code)]

mod ahead;
mod attach;
mod clock;
mod cpu_time;
mod deferred;
mod fold;
mod kernel;
mod lane;
mod lost;
mod member;
mod members;
mod merged;
mod named_later;
pub mod native;
mod native_reader;
mod native_stacks;
mod native_summary;
mod near;
mod options;
mod past;
mod paths;
mod presence;
mod progress;
mod python;
mod recorder;
mod search;
mod stack;
mod state;
mod stop;
mod tally;
mod target;
mod thread;
mod threads;
mod tree;
mod unproved;
mod within;

pub use attach::{AttachError, Candidates, Stacks};
pub use clock::{Tick, own_cpu_time};
pub use fold::Shown;
pub use lane::Reuse;
pub use lost::Lost;
pub use named_later::NamedLater;
pub use native_summary::NativeSummary;
pub use options::{MAX_NEAR, Manner, Mode, Options, Whom};
pub use past::Sums;
pub use progress::Progress;
pub use recorder::{End, Recorder};
pub use stack::{Frame, Reading, Stack, Standing};
pub use state::Activity;
pub use stop::{NotStopped, motion, stop_running};
pub use tally::Tally;
pub use target::Target;
pub use thread::TargetThread;
pub use tree::{Census, descendants};
