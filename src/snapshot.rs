use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use firefinch_process::{AccessError, Activity, Process, Stopper, Thread, Tid};
use firefinch_sampler::{Candidates, Stacks};
use firefinch_snapshot::{CaptureError, Recorded};

use crate::args::SnapshotArgs;
use crate::failure::Failure;
use crate::limits::raise_open_files;
use crate::output::Output;
use crate::wait::attach;

/// Writes what decoding the process's stacks reads at one moment.
pub(crate) fn run(args: &SnapshotArgs, verbose: bool) -> Result<ExitCode, Failure> {
    let output = Output::open(&args.output)?;
    raise_open_files();
    let target = attach(args.pid, Stacks::Python, None);
    let target = target.map_err(|error| Failure::attach(args.pid, &error))?;
    let mut attempts = (0..ATTEMPTS).map(|_| record(target.process()));
    let moved = |result: &Result<_, _>| matches!(result, Err(Fault::Capture(CaptureError::Moved)));
    let result = attempts.find(|result| !moved(result));
    let recorded = result.unwrap_or(Err(Fault::Capture(CaptureError::Moved)));
    let captured = recorded.and_then(|recorded| Ok(recorded.reduced()?));
    let captured = captured.map_err(|fault| match fault {
        Fault::Access(error) => Failure::access(&error),
        Fault::Capture(error) => Failure::new(
            format!("cannot take a snapshot of process {}", args.pid),
            error,
            "try again, and report it if it stays so",
        ),
    })?;
    let file = captured.to_file();
    output.write(&file)?;
    if verbose {
        eprintln!(
            "Python {} ({}), {} threads; {} bytes read, {} bytes written",
            captured.expected.version,
            captured.expected.build,
            captured.expected.threads.len(),
            captured.memory.len(),
            file.len()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Waiting threads are not stopped, and may wake up while they are read.
const ATTEMPTS: usize = 20;

/// Why an attempt failed.
#[derive(Debug)]
enum Fault {
    Access(AccessError),
    Capture(CaptureError),
}

impl From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl From<CaptureError> for Fault {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

/// A running thread stops within some 20 µs.
const DEADLINE: Duration = Duration::from_millis(100);

/// Reads while no thread runs. Every thread of the process that runs is
/// stopped, whether or not it is known which Python thread that is; one that
/// waits is left alone, as its wait might end with EINTR, and does not move.
fn record(process: &Process) -> Result<Recorded, Fault> {
    let tids = process.threads()?;
    let runs = |tid: &Tid| {
        let activity = Thread::open(process, *tid).and_then(|thread| thread.activity());
        matches!(activity, Ok(Activity::Running))
    };
    let running: Vec<Tid> = tids.into_iter().filter(runs).collect();
    let mut stopper = Stopper::new(process)?;
    let stopped = stopper.stop_threads(&running, Instant::now() + DEADLINE);
    if !stopped.is_complete() {
        return Err(CaptureError::Moved.into());
    }
    let candidates = Candidates::of(process, &process.maps()?);
    let native_ids: HashSet<u64> = process
        .thread_ids()?
        .iter()
        .map(|(_, id)| u64::from(id.get().unsigned_abs()))
        .collect();
    let memory = process.memory()?;
    let images = candidates.images();
    Ok(Recorded::of(&memory, images, &candidates, &native_ids)?)
}
