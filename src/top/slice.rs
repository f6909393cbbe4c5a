use std::time::Duration;

use firefinch_cpython::Build;
use firefinch_profile::Profile;
use firefinch_sampler::{Target, Whom, own_cpu_time};

use crate::failure::printable;

/// What was recorded in some moments, and how things stood then.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) profile: Profile,
    pub(super) status: Status,
}

/// How things stood at the end of a slice.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    /// What runs, by its name only, and its PID.
    pub(super) target: String,
    /// `Python 3.11.7`, if it is Python.
    pub(super) python: Option<String>,
    /// Whether only one thread at a time can run Python.
    pub(super) has_gil: bool,
    pub(super) threads: usize,
    pub(super) whom: Whom,
    /// Since the start of the recording.
    pub(super) elapsed: Duration,
    /// What this process has used of processors since it began.
    pub(super) own_cpu: Duration,
}

impl Status {
    pub(super) fn of(target: &Target, profile: &Profile, whom: Whom, elapsed: Duration) -> Self {
        let runtime = target.runtime();
        let build = runtime.map(|runtime| runtime.layout().build());
        Self {
            target: printable(&profile.meta.target),
            python: runtime.map(|runtime| format!("Python {}", runtime.version)),
            has_gil: matches!(build, Some(Build::Release | Build::Debug)),
            threads: target.threads().len(),
            whom,
            elapsed,
            own_cpu: own_cpu_time(),
        }
    }
}
