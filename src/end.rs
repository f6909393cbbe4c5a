//! What is said of the end of a target.

use std::fmt::Display;

use firefinch_process::Pid;
use firefinch_sampler::End;

use crate::failure::Failure;

/// Says why a recording has ended, if that was not asked for: of a process, or
/// with its descendants.
pub(crate) fn say_end(end: End, pid: Pid, with_descendants: bool) {
    match end {
        End::Duration | End::Interrupted => {}
        End::Exited if with_descendants => {
            eprintln!("firefinch: process {pid} has ended, and all its descendants");
        }
        End::Exited => eprintln!("firefinch: process {pid} has ended"),
        End::Replaced => {
            eprintln!("firefinch: process {pid} runs another program now, which is not Python");
        }
    }
}

/// A command that was too short to be seen.
pub(crate) fn ended_early(pid: Pid, evidence: impl Display) -> Failure {
    Failure::new(
        format!("the command (PID {pid}) ended before it could be sampled"),
        evidence,
        "check that the command runs for longer than a moment",
    )
}
