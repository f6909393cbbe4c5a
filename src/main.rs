//! The command line of firefinch: arguments, progress, messages. It decides
//! nothing about sampling.
#![forbid(unsafe_code)]

mod args;
mod debuginfod;
mod dump;
mod end;
mod failure;
mod family;
mod launch;
mod limits;
mod output;
mod packages;
mod program;
mod progress;
mod ps;
mod quality;
mod record;
mod signals;
mod snapshot;
mod summary;
mod top;
mod usage;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return not_understood(&error),
    };
    let result = match args.command {
        Command::Record(record) => record::run(&record, args.verbose),
        Command::Top(top) => top::run(&top),
        Command::Dump(dump) => dump::run(&dump, args.verbose),
        Command::Ps => ps::run(),
        Command::Snapshot(snapshot) => snapshot::run(&snapshot, args.verbose),
    };
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn not_understood(error: &clap::Error) -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let command = Args::command();
    let names: Vec<_> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    match usage::failure(error, usage::subcommand(&typed, &names)) {
        Some(failure) => failure.report(),
        None => {
            // Whoever closed the pipe has seen enough of the help.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE))
        }
    }
}
