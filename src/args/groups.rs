//! What several commands have in common.

use std::ffi::OsString;
use std::num::NonZeroU32;

use firefinch_process::Pid;
use firefinch_report::{LineStyle, Style};
use firefinch_sampler::{Manner, Shown, Stacks, Whom};

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

    /// Sample at even intervals, not at a random moment of each: blind to what keeps the same beat
    #[arg(long)]
    no_jitter: bool,

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
    blocking: bool,

    /// Read from another CPU than the target's: it loses nothing, and calls of
    /// microseconds have shares that are less exact. Above 100 Hz this is the default
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

    pub(crate) fn manner(&self) -> Manner {
        match (self.blocking, self.nonblocking) {
            (true, _) => Manner::Stopped,
            (_, true) => Manner::Apart,
            _ => Manner::Near,
        }
    }

    pub(crate) fn jitter(&self) -> bool {
        !self.no_jitter
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

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| {
        format!(
            "it must be a whole number of samples a second from 1 to {}",
            NonZeroU32::MAX
        )
    })
}
