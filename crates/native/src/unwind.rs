//! From registers and stack memory to the addresses of all frames.

mod cache;
mod cfi;
mod compile;
mod expression;
mod frame_index;
mod frame_pointer;
mod plan;
mod rule;
mod search;
mod search_table;
mod stack;
mod stack_memory;
mod unwinder;
mod walk;

pub(crate) use cfi::Cfi;
pub(crate) use rule::{Recovery, Rule};
pub use stack::{Frame, Outcome, Status, Truncation, Via};
pub use stack_memory::StackCopy;
pub use unwinder::{Limits, Unwinder};
