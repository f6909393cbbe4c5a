use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgGroup, Parser, Subcommand};
use firefinch_process::Pid;
use firefinch_report::{Format, LineStyle, Style};
use firefinch_sampler::{Shown, Stacks, Whom};

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

/// Which process is sampled.
#[derive(Debug, clap::Args)]
#[group(id = "target", required = true, multiple = false)]
pub(crate) struct Process {
    /// The process to sample
    #[arg(short, long, value_name = "PID", allow_hyphen_values = true)]
    pid: Option<Pid>,

    /// The process to sample
    #[arg(value_name = "PID", allow_negative_numbers = true)]
    pid_argument: Option<Pid>,

    /// A command to start and sample until it ends
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) program: Vec<OsString>,
}

/// What else is sampled than one process.
#[derive(Debug, clap::Args)]
pub(crate) struct Family {
    /// Its descendants too, those that there are and those that come
    #[arg(short, long)]
    pub(crate) subprocesses: bool,
}

/// How it is sampled.
#[derive(Debug, clap::Args)]
pub(crate) struct Sampling {
    /// Samples a second
    #[arg(short, long, default_value = "100", value_name = "HZ")]
    #[arg(value_parser = parse_rate, allow_hyphen_values = true)]
    pub(crate) rate: NonZeroU32,

    /// What samples weigh: the time that passes, or the time on a processor
    #[arg(long, value_enum, default_value = "wall")]
    mode: Mode,

    /// Sample waiting threads too
    #[arg(short, long)]
    idle: bool,

    /// Sample only threads that hold the GIL
    #[arg(short, long)]
    gil: bool,

    /// Stop the target's threads for each read
    #[arg(long)]
    pub(crate) blocking: bool,

    /// Do not stop the target (the default; accepted for py-spy's sake)
    #[arg(long, conflicts_with = "blocking")]
    nonblocking: bool,
}

/// What frames are called.
#[derive(Debug, clap::Args)]
pub(crate) struct Labels {
    /// Tell functions apart by their first line, not by the current line
    #[arg(short = 'F', long)]
    function: bool,

    /// Show no line numbers
    #[arg(long, conflicts_with = "function")]
    nolineno: bool,

    /// Show whole paths of files
    #[arg(long)]
    full_filenames: bool,
}

/// Which frames are shown beside those of Python.
#[derive(Debug, clap::Args)]
pub(crate) struct Frames {
    /// Show native frames too; =all: those of the interpreter itself as well
    #[arg(
        short,
        long,
        value_enum,
        value_name = "all",
        hide_possible_values = true
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "folded")]
    pub(crate) native: Option<Native>,
}

/// What else is wanted of native stacks, from outside the process.
#[derive(Debug, clap::Args)]
pub(crate) struct Beyond {
    /// Show the functions of the kernel that threads wait in (as root); implies -n
    #[arg(long)]
    pub(crate) kernel: bool,

    /// Fetch debug information that is missing, by the servers in DEBUGINFOD_URLS
    #[arg(long)]
    pub(crate) debuginfod: bool,
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

/// What time is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// The time that passes, of each thread that runs
    Wall,
    /// The time on a processor, as the kernel counts it
    Cpu,
}

/// Which native frames are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Native {
    /// Not the interpreter's own
    Folded,
    /// All of them
    All,
}

impl Beyond {
    /// Which native frames are shown: there are none of the kernel without them.
    pub(crate) fn native(&self, frames: &Frames) -> Option<Native> {
        frames.native.or(self.kernel.then_some(Native::Folded))
    }
}

/// The stacks that were asked for.
pub(crate) fn stacks(native: Option<Native>) -> Stacks {
    match native {
        Some(_) => Stacks::Merged,
        None => Stacks::PythonOrNative,
    }
}

/// The native frames that were asked for.
pub(crate) fn shown(native: Option<Native>) -> Shown {
    match native {
        Some(Native::All) => Shown::All,
        Some(Native::Folded) | None => Shown::Folded,
    }
}

/// How long to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Unlimited,
    Limited(Duration),
}

impl Process {
    /// The process to attach to, unless one is to be started.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.pid.or(self.pid_argument)
    }
}

impl Sampling {
    pub(crate) fn mode(&self) -> firefinch_sampler::Mode {
        match self.mode {
            Mode::Wall => firefinch_sampler::Mode::Wall,
            Mode::Cpu => firefinch_sampler::Mode::Cpu,
        }
    }

    pub(crate) fn whom(&self) -> Whom {
        Whom {
            idle: self.idle,
            gil: self.gil,
        }
    }
}

impl Labels {
    pub(crate) fn style(&self) -> Style {
        Style {
            lines: match (self.function, self.nolineno) {
                (true, _) => LineStyle::FunctionFirst,
                (_, true) => LineStyle::None,
                _ => LineStyle::Current,
            },
            full_filenames: self.full_filenames,
            ..Style::default()
        }
    }
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

fn parse_duration(text: &str) -> Result<Length, String> {
    if text == "unlimited" {
        return Ok(Length::Unlimited);
    }
    let seconds = text.parse::<f64>().ok();
    let duration = match seconds {
        Some(seconds) if seconds.is_nan() => return Err("it is not a number".to_owned()),
        Some(seconds) if seconds <= 0.0 => Duration::ZERO,
        Some(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|_| "it is too long; unlimited is a word that is understood".to_owned())?,
        None => humantime::parse_duration(text)
            .map_err(|_| "it is neither seconds nor a time like 1m30s".to_owned())?,
    };
    if duration.is_zero() {
        return Err("it must be more than zero".to_owned());
    }
    Ok(Length::Limited(duration))
}

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| {
        format!(
            "it must be a whole number of samples a second from 1 to {}",
            NonZeroU32::MAX
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds, py-spy's word and compound times are understood; nonsense is not.
    #[test]
    fn durations() {
        let limited = |s| Ok(Length::Limited(Duration::from_secs_f64(s)));
        assert_eq!(parse_duration("30"), limited(30.0));
        assert_eq!(parse_duration("0.5"), limited(0.5));
        assert_eq!(parse_duration("1m30s"), limited(90.0));
        assert_eq!(parse_duration("unlimited"), Ok(Length::Unlimited));
        for wrong in ["0", "-1", "0s", "soon", "nan", "inf", "1e300", ""] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

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
