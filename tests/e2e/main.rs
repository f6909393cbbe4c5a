//! The `firefinch` program, from its command line to its output, on real
//! interpreters. Each target tells its own truth (see `tests/targets`); these
//! tests compare it with what firefinch says.

mod dump;
mod exec;
mod faults;
mod gil;
mod launch;
mod oracle;
mod output;
mod record;
mod support;
