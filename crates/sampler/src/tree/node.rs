use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_cpython::FindError;
use firefinch_process::Process;

use super::census::Verdict;
use crate::attach::{AttachError, Stacks};
use crate::target::{Target, Wishes};

/// A process of a tree, and when to attach to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Arc<Process>,
    pub(super) verdict: Verdict,
    /// While it is not sampled.
    attempt: Option<Attempt>,
}

/// Attaching to a process, again and again until it can be done: it may be on
/// the way from fork to exec, or start an interpreter, or become another program
/// one day.
#[derive(Debug)]
struct Attempt {
    begun: Instant,
    due: Instant,
    pause: Duration,
    /// What it was exec'ed from when nothing in it ran Python, and when all of
    /// it was searched.
    judged: Option<(Option<PathBuf>, Instant)>,
}

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// While something is expected: to try takes some 0.2 ms.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// While nothing is.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// Who has no interpreter after this is not starting one.
const PATIENCE: Duration = Duration::from_secs(3);

/// A program that is still the same may have loaded an interpreter; to search all
/// of it takes some 0.1 ms, to see whether it is the same a few microseconds.
const SEARCH_AGAIN: Duration = Duration::from_secs(5);

/// What came of an attempt.
enum Outcome {
    Attached(Box<Target>),
    NotYet,
    NotPython,
    Refused(String),
}

impl Node {
    /// One that is sampled already.
    pub(super) fn sampled(process: Arc<Process>) -> Self {
        Self {
            process,
            verdict: Verdict::Sampled,
            attempt: None,
        }
    }

    /// One to attach to.
    pub(super) fn new(process: Arc<Process>) -> Self {
        let mut node = Self {
            process,
            verdict: Verdict::Unknown,
            attempt: None,
        };
        node.begin();
        node
    }

    /// Has it attached to from the beginning.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        self.attempt = Some(Attempt {
            begun: now,
            due: now,
            pause: FIRST_PAUSE,
            judged: None,
        });
    }

    /// Whether it is known what it is.
    pub(super) fn is_known(&self) -> bool {
        self.verdict != Verdict::Unknown
    }

    /// When there is something to do about it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.attempt.as_ref().map(|attempt| attempt.due)
    }

    /// Tries to attach to it, if that is due.
    pub(super) fn attach(&mut self, wishes: &Wishes) -> Option<Target> {
        let attempt = self.attempt.as_mut()?;
        if Instant::now() < attempt.due {
            return None;
        }
        let outcome = attempt.make(&self.process, wishes);
        let longest = match outcome {
            Outcome::Attached(_) | Outcome::NotYet => SHORT_PAUSE,
            Outcome::NotPython | Outcome::Refused(_) => LONG_PAUSE,
        };
        attempt.due = Instant::now() + attempt.pause;
        attempt.pause = (attempt.pause * 2).min(longest);
        // Who was sampled before an exec stays one that was.
        let was_sampled = self.verdict == Verdict::Sampled;
        let verdict = match outcome {
            Outcome::Attached(target) => {
                self.attempt = None;
                self.verdict = Verdict::Sampled;
                return Some(*target);
            }
            Outcome::NotYet => return None,
            Outcome::NotPython => Verdict::NotPython,
            Outcome::Refused(why) => Verdict::Refused(why),
        };
        if !was_sampled {
            self.verdict = verdict;
        }
        None
    }
}

impl Attempt {
    fn make(&mut self, process: &Arc<Process>, wishes: &Wishes) -> Outcome {
        let exe = process.exe().ok().map(|exe| exe.path);
        if let Some((judged, when)) = &self.judged {
            if *judged == exe && when.elapsed() < SEARCH_AGAIN {
                return Outcome::NotPython;
            }
            if *judged != exe {
                self.begun = Instant::now();
                self.pause = FIRST_PAUSE;
            }
            self.judged = None;
        }
        let is_late = self.begun.elapsed() >= PATIENCE;
        if process.borrows_memory() && !is_late {
            return Outcome::NotYet;
        }
        let error = match Target::attach_descendant(process, wishes) {
            Ok(target) => return ready(target, is_late),
            Err(error) => error,
        };
        if error.runs_no_python() && is_late && wishes.stacks != Stacks::Python {
            return match Target::attach_native_descendant(process, wishes) {
                Ok(target) => Outcome::Attached(Box::new(target)),
                Err(error) => Outcome::Refused(error.to_string()),
            };
        }
        match error {
            AttachError::NoInterpreter { error, .. } => match error {
                FindError::NotPython if wishes.stacks == Stacks::Python || is_late => {
                    self.judged = Some((exe, Instant::now()));
                    Outcome::NotPython
                }
                FindError::NotPython | FindError::NotReady(_) | FindError::Unrecognised(_)
                    if !is_late =>
                {
                    Outcome::NotYet
                }
                error => {
                    self.judged = Some((exe, Instant::now()));
                    Outcome::Refused(error.to_string())
                }
            },
            // Between fork and the end of exec nearly anything may be refused.
            error if !is_late && !is_denied(&error) => Outcome::NotYet,
            error => Outcome::Refused(error.to_string()),
        }
    }
}

fn is_denied(error: &AttachError) -> bool {
    matches!(error, AttachError::Access(access) if access.errno.is_denied())
}

/// Only of a process that has threads of its own: what there is of Python may be
/// its parent's still.
fn ready(mut target: Target, is_late: bool) -> Outcome {
    match target.refresh() {
        Ok(()) if target.has_own_threads() || is_late => Outcome::Attached(Box::new(target)),
        _ if is_late => Outcome::Refused("its threads cannot be listed".to_owned()),
        _ => Outcome::NotYet,
    }
}
