use firefinch_profile::Profile;

use crate::subtitle::counted;

/// Why a profile has no samples, in one sentence; `None` if it has some.
pub fn why_empty(profile: &Profile) -> Option<String> {
    if profile.sample_count() > 0 {
        return None;
    }
    let losses = profile.losses();
    let ticks = profile.ticks();
    let reason = if let Some((reason, _)) = losses.by_count().first() {
        let lost = counted(losses.total(), "sample");
        format!("{lost} could not be had, mostly because {reason}")
    } else if ticks == 0 && profile.missed() > 0 {
        let missed = counted(profile.missed(), "tick");
        format!("the profiler was too late for every one of {missed}")
    } else if ticks == 0 {
        "the recording ended before its first tick".to_owned()
    } else if profile.meta.gil_only {
        let ticks = counted(ticks, "tick");
        format!("no thread held the interpreter's lock at any of {ticks}")
    } else if profile.meta.idle_threads {
        let ticks = counted(ticks, "tick");
        format!("there was no thread to look at at any of {ticks}")
    } else {
        let ticks = counted(ticks, "tick");
        format!("every thread was waiting at each of {ticks}; waiting threads were left out")
    };
    Some(reason)
}
