//! What the tests share: interpreters, targets, and readers of the output.

mod alone;
mod collapsed;
mod dumped;
mod interpreter;
mod packages;
mod poll;
mod recording;
mod stopped;
mod target;
mod terminal;
mod tool;
mod truth;
mod user;

pub(crate) use alone::alone;
pub(crate) use collapsed::Collapsed;
pub(crate) use dumped::{Dump, Thread, full_dump};
pub(crate) use interpreter::{
    Interpreter, for_every, for_every_that, is_left_out_without_root, is_one_of_few,
};
pub(crate) use packages::{has_packages, packages};
pub(crate) use poll::{PATIENCE, eventually};
pub(crate) use recording::{Recording, files_in};
#[cfg(target_arch = "x86_64")]
pub(crate) use stopped::stopped;
pub(crate) use target::{
    Place, Target, copy_programs, interpreter_args, prepare, program_path, programs, python_args,
    to_command,
};
pub(crate) use terminal::Terminal;
pub(crate) use tool::{Run, Running, command, firefinch};
pub(crate) use truth::{TrueFrame, true_stack};
pub(crate) use user::{Nobody, is_root};
