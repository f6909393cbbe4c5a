//! What the tests share: interpreters, targets, and readers of the output.

mod collapsed;
mod dumped;
mod interpreter;
mod poll;
mod target;
mod tool;
mod truth;

pub(crate) use collapsed::Collapsed;
pub(crate) use dumped::{Dump, Thread};
pub(crate) use interpreter::{Interpreter, for_every, for_every_that};
pub(crate) use poll::{PATIENCE, eventually};
pub(crate) use target::{Target, programs};
pub(crate) use tool::{Run, Running, command, firefinch};
pub(crate) use truth::{TrueFrame, true_stack};
