use std::time::{Duration, Instant};

use firefinch_cpython::Motion;
use firefinch_process::{Stopped, Stopper, Tid};

use crate::target::Target;
use crate::thread::TargetThread;

/// A running thread stops within some 20 µs; one that does not stop in this
/// time is given up for this tick.
const DEADLINE: Duration = Duration::from_millis(20);

/// Stops the threads that run. One that waits is left alone: interrupting it
/// would end some system calls with EINTR, and it does not move anyway.
pub fn stop_running<'a>(stopper: &'a mut Stopper, target: &Target) -> Stopped<'a> {
    let running: Vec<Tid> = target
        .threads()
        .iter()
        .filter(|thread| thread.activity().is_active())
        .filter_map(|thread| thread.tid)
        .collect();
    stopper.stop_threads(&running, Instant::now() + DEADLINE)
}

/// A thread that was to stand still and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotStopped;

/// Whether a thread moves while it is read, given what was stopped: `None`
/// when nothing was to be.
///
/// # Errors
/// [`NotStopped`] if it was to be stopped and was not.
pub fn motion(stopped: Option<&Stopped<'_>>, thread: &TargetThread) -> Result<Motion, NotStopped> {
    let Some(stopped) = stopped else {
        return Ok(Motion::Running);
    };
    match thread.tid.and_then(|tid| stopped.outcome(tid)) {
        Some(Ok(())) => Ok(Motion::Stopped),
        // It was waiting; should it wake up, the read finds out.
        None if !thread.activity().is_active() => Ok(Motion::Running),
        _ => Err(NotStopped),
    }
}
