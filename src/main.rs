//! The command line of firefinch.
#![forbid(unsafe_code)]

fn main() {}
