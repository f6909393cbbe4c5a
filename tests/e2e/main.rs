//! The `firefinch` program, from its command line to its output, on real
//! interpreters. Each target tells its own truth (see `tests/targets`); these
//! tests compare it with what firefinch says.

mod dump;
mod faults;
mod gil;
mod record;
mod support;
