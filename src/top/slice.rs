use std::collections::BTreeSet;
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
    pub(super) processes: usize,
    pub(super) whom: Whom,
    /// Since the start of the recording.
    pub(super) elapsed: Duration,
    /// What this process has used of processors since it began.
    pub(super) own_cpu: Duration,
}

impl Status {
    pub(super) fn of<'a>(
        targets: impl Iterator<Item = &'a Target>,
        profile: &Profile,
        whom: Whom,
        elapsed: Duration,
    ) -> Self {
        let mut pythons = BTreeSet::new();
        let (mut has_gil, mut threads, mut processes) = (false, 0, 0);
        for target in targets {
            if let Some(runtime) = target.runtime() {
                pythons.insert(format!("Python {}", runtime.version));
                let build = runtime.layout().build();
                has_gil |= matches!(build, Build::Release | Build::Debug);
            }
            threads += target.threads().len();
            processes += 1;
        }
        let pythons: Vec<String> = pythons.into_iter().collect();
        Self {
            target: printable(&profile.meta.target),
            python: (!pythons.is_empty()).then(|| pythons.join(", ")),
            has_gil,
            threads,
            processes,
            whom,
            elapsed,
            own_cpu: own_cpu_time(),
        }
    }
}
