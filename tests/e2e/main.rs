//! The `firefinch` program, from its command line to its output, on real
//! interpreters. Each target tells its own truth (see `tests/targets`); these
//! tests compare it with what firefinch says.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod blocked;
mod builds;
mod cost;
mod cython;
mod debuginfod;
mod dump;
mod example;
mod exec;
mod faults;
mod generated;
mod gil;
mod kernel;
mod launch;
mod libraries;
mod loops;
mod native;
mod oracle;
mod output;
mod packages;
mod ps;
mod record;
mod snapshot;
mod stacks;
mod subinterpreters;
mod subprocesses;
mod support;
mod time;
mod top;
