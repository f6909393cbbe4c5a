mod groups;
mod length;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgGroup, Parser, Subcommand};
use firefinch_process::Pid;
use firefinch_report::Format;

pub(crate) use groups::{Beyond, Family, Frames, Labels, Process, Sampling, shown, stacks};
use length::{Length, parse_duration};

/// Exit codes, shown in `--help`; part of the interface.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it failed: the message says at which step
  2  wrong usage
  3  nothing was sampled: the output says so too
  4  the result could not be written where it was asked for; the message says where it is
With -- COMMAND, the command's own exit status is passed on once it has ended
(128 + N if signal N ended it), unless recording failed.";

const TOP_HELP: &str = "\
Shares are of the last two seconds, times since the start; 100 % is one thread all
the time. Keys: 1 to 4 sort, t shows lines, i idle threads, g only who holds the GIL,
space pauses, r resets, ? explains, q quits, Ctrl-Z suspends. The last table stays on
the terminal, with names that --debuginfod has fetched by then. If standard output is
not a terminal, a table is written every two seconds.

A COMMAND has no terminal: nothing to read, and of what it prints the last lines are
shown at the end. Quitting ends it (SIGTERM).

Exit codes:
  0  you have quit, or the process has ended
  1  it failed: the message says at which step
  2  wrong usage
  3  nothing was sampled before the process ended
With -- COMMAND, the command's own exit status is passed on once it has ended
(128 + N if signal N ended it).";

/// A sampling profiler for running processes: attach by PID, see the truth.
#[derive(Debug, Parser)]
#[command(name = "firefinch", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Args {
    /// Say what was found in the target, and what profiling it cost
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sample a process into a file: a flame graph, or collapsed stacks
    Record(RecordArgs),
    /// Show what a process does, live: its hottest functions, like top(1)
    Top(TopArgs),
    /// Show what every thread is doing now
    Dump(DumpArgs),
    /// List the Python processes that can be profiled
    Ps,
    /// Write the memory that decoding a process's stacks reads to a file, for tests and bug reports
    #[command(hide = true)]
    Snapshot(SnapshotArgs),
}

/// Samples a running process, or a command that is started for it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXIT_CODES,
    override_usage = "firefinch record [OPTIONS] PID\n       firefinch record [OPTIONS] -- COMMAND..."
)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    pub(crate) process: Process,

    #[command(flatten)]
    pub(crate) family: Family,

    /// The file to write, or - for standard output [default: firefinch-PID-TIME.svg]
    #[arg(short, long, value_name = "FILE")]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) output: Option<PathBuf>,

    /// The format: flamegraph (svg) or raw (collapsed stacks) [default: by the file's extension]
    #[arg(short, long)]
    pub(crate) format: Option<Format>,

    /// How long to sample, in seconds or like 1m30s [default: until Ctrl-C or the target's end]
    #[arg(short, long, value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Length>,

    /// Show each thread as a root of its own, with its name
    #[arg(short, long)]
    pub(crate) threads: bool,

    #[command(flatten)]
    pub(crate) sampling: Sampling,

    #[command(flatten)]
    pub(crate) frames: Frames,

    #[command(flatten)]
    pub(crate) beyond: Beyond,

    #[command(flatten)]
    pub(crate) labels: Labels,
}

/// Shows what a running process does, or a command that is started for it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = TOP_HELP,
    override_usage = "firefinch top [OPTIONS] PID\n       firefinch top [OPTIONS] -- COMMAND..."
)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) process: Process,

    #[command(flatten)]
    pub(crate) family: Family,

    #[command(flatten)]
    pub(crate) sampling: Sampling,

    #[command(flatten)]
    pub(crate) frames: Frames,

    #[command(flatten)]
    pub(crate) beyond: Beyond,

    #[command(flatten)]
    pub(crate) labels: Labels,
}

/// Shows every thread's stack now.
#[derive(Debug, clap::Args)]
#[command(override_usage = "firefinch dump [OPTIONS] PID")]
#[command(group = ArgGroup::new("target").required(true).args(["pid", "pid_argument"]))]
pub(crate) struct DumpArgs {
    /// The process to look at
    #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
    pid: Option<Pid>,

    /// The process to look at
    #[arg(value_name = "PID", allow_negative_numbers = true)]
    pid_argument: Option<Pid>,

    #[command(flatten)]
    pub(crate) family: Family,

    #[command(flatten)]
    pub(crate) frames: Frames,

    #[command(flatten)]
    pub(crate) beyond: Beyond,

    /// Show whole paths of files
    #[arg(long)]
    pub(crate) full_filenames: bool,

    /// Stop the target's threads for the read
    #[arg(long)]
    pub(crate) blocking: bool,

    /// Do not stop the target (the default; accepted for py-spy's sake)
    #[arg(long, conflicts_with = "blocking")]
    nonblocking: bool,
}

/// Writes the memory that decoding a process's stacks reads to a file.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// The process to look at
    #[arg(value_name = "PID", allow_negative_numbers = true)]
    pub(crate) pid: Pid,

    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) output: PathBuf,
}

impl RecordArgs {
    pub(crate) fn limit(&self) -> Option<Duration> {
        match self.duration {
            Some(Length::Limited(duration)) => Some(duration),
            Some(Length::Unlimited) | None => None,
        }
    }
}

impl DumpArgs {
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.pid.or(self.pid_argument)
    }
}

#[cfg(test)]
mod tests {
    use super::groups::Native;
    use super::*;

    /// -n and --native take a value only behind an equals sign, and leave what follows alone.
    #[test]
    fn native() {
        let native = |args: &[&str]| {
            let args = ["firefinch", "record"].iter().chain(args);
            match Args::try_parse_from(args).map(|args| args.command) {
                Ok(Command::Record(args)) => {
                    Some((args.frames.native, args.process.pid(), args.threads))
                }
                _ => None,
            }
        };
        let pid = Pid::new(7);
        assert_eq!(native(&["7"]), Some((None, pid, false)));
        for folded in ["-n", "--native", "-n=folded"] {
            assert_eq!(
                native(&[folded, "7"]),
                Some((Some(Native::Folded), pid, false))
            );
            assert_eq!(
                native(&["7", folded]),
                Some((Some(Native::Folded), pid, false))
            );
        }
        assert_eq!(
            native(&["-nt", "7"]),
            Some((Some(Native::Folded), pid, true))
        );
        assert_eq!(
            native(&["-tn", "7"]),
            Some((Some(Native::Folded), pid, true))
        );
        for all in ["-n=all", "--native=all"] {
            assert_eq!(native(&[all, "7"]), Some((Some(Native::All), pid, false)));
        }
        assert_eq!(native(&["--native=some", "7"]), None);
    }

    /// The definition is consistent, which clap only checks when it runs.
    #[test]
    fn definition() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
