//! The command line of firefinch: arguments, progress, messages. It decides
//! nothing about sampling.
#![forbid(unsafe_code)]

mod args;
mod dump;
mod failure;
mod launch;
mod output;
mod progress;
mod ps;
mod record;
mod signals;
mod summary;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Record(record) => record::run(&record, args.verbose),
        Command::Dump(dump) => dump::run(&dump, args.verbose),
        Command::Ps => ps::run(),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
