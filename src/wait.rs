use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::FindError;
use firefinch_process::{Pid, Process};
use firefinch_sampler::{AttachError, Stacks, Target};

use crate::signals::Stop;

/// How long an interpreter that is starting or ending is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// A process older than this that has no interpreter is not starting one.
const YOUNG: Duration = Duration::from_secs(5);
/// Between two looks at whether the user has lost patience.
const SLICE: Duration = Duration::from_millis(100);

/// Attaches to a process for these stacks. It may be about to have an
/// interpreter: a moment is waited for one if there is reason to.
pub(crate) fn attach(pid: Pid, stacks: Stacks, stop: Option<&Stop>) -> Result<Target, AttachError> {
    let process = Arc::new(Process::open(pid)?);
    match Target::attach(&process, stacks, Duration::ZERO) {
        Err(error) if is_passing(&process, &error) => {
            attach_within(&process, stacks, PATIENCE, stop)
        }
        Err(error) => without_python(&process, stacks, error),
        target => target,
    }
}

/// Attaches, waiting for an interpreter until then, or until the user wants
/// it to end.
pub(crate) fn attach_within(
    process: &Arc<Process>,
    stacks: Stacks,
    patience: Duration,
    stop: Option<&Stop>,
) -> Result<Target, AttachError> {
    let begun = Instant::now();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        let mut error = match Target::attach(process, stacks, left.min(SLICE)) {
            Err(error) => error,
            found => return found,
        };
        let asked = stop.is_some_and(Stop::is_asked);
        if asked || begun.elapsed() >= patience || !error.may_pass() {
            if let AttachError::NoInterpreter { waited, .. } = &mut error {
                *waited = begun.elapsed();
            }
            return match asked {
                true => Err(error),
                false => without_python(process, stacks, error),
            };
        }
    }
}

/// A process that could run Python and does not has native stacks, if those
/// will do.
fn without_python(
    process: &Arc<Process>,
    stacks: Stacks,
    error: AttachError,
) -> Result<Target, AttachError> {
    if stacks != Stacks::Python && error.runs_no_python() {
        return Target::attach_native(process, stacks);
    }
    Err(error)
}

/// Whether there is reason to expect an interpreter in a moment.
fn is_passing(process: &Process, error: &AttachError) -> bool {
    match error {
        AttachError::NoInterpreter {
            error: FindError::NotReady(_),
            ..
        } => true,
        AttachError::NoInterpreter { .. } => process.age() < YOUNG,
        other => other.may_pass(),
    }
}
