use std::fmt::{self, Display};
use std::process::ExitCode;

use firefinch_cpython::{DebugOffsetsError, FindError, Layout};
use firefinch_process::{AccessError, OpenError, Pid};
use firefinch_sampler::AttachError;

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Nothing was sampled.
pub(crate) const NOTHING: u8 = 3;
/// The result is not where it was asked for.
pub(crate) const ELSEWHERE: u8 = 4;

/// Three lines: what failed, the evidence, what to type next.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    evidence: String,
    next: String,
    code: u8,
}

impl Failure {
    pub(crate) fn new(what: impl Display, evidence: impl Display, next: impl Display) -> Self {
        Self {
            what: what.to_string(),
            evidence: evidence.to_string(),
            next: next.to_string(),
            code: FAILED,
        }
    }

    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Prints the lines and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("{self}");
        ExitCode::from(self.code)
    }

    /// The kernel refuses, or the process is gone.
    pub(crate) fn access(pid: Pid, error: &AccessError) -> Self {
        let what = format!("cannot profile process {pid}");
        Self::new(what, error, "run it as that process's user, or as root")
    }

    pub(crate) fn attach(pid: Pid, error: &AttachError) -> Self {
        let what = format!("cannot profile process {pid}");
        match error {
            AttachError::Open(open) => Self::new(what, open, after_open(open)),
            AttachError::Access(access) => Self::access(pid, access),
            AttachError::NoInterpreter { error, exe, waited } => {
                let exe = exe.as_deref().unwrap_or("(unreadable)");
                let waited = if waited.is_zero() {
                    String::new()
                } else {
                    format!(", after waiting {:.1} s", waited.as_secs_f64())
                };
                let evidence = format!("{error}: it runs {exe}{waited}");
                Self::new(what, evidence, after_find(error))
            }
            AttachError::Layout(missing) => Self::new(
                what,
                missing,
                "report this: the layout table lacks a field for this version",
            ),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "firefinch: {}", printable(&self.what))?;
        writeln!(f, "  evidence: {}", printable(&self.evidence))?;
        write!(f, "  next: {}", printable(&self.next))
    }
}

/// Text that comes from a target must not steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let safe = |c: char| !c.is_control();
    text.chars()
        .map(|c| {
            if safe(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

fn after_open(error: &OpenError) -> String {
    match error {
        OpenError::NoSuchProcess(_) => {
            "firefinch ps lists the processes that can be profiled here".to_owned()
        }
        OpenError::IsThread { of, .. } => format!("use -p {of}"),
        OpenError::Zombie(_) => "nothing: it has ended and only its exit status is left".to_owned(),
        OpenError::KernelThread(_) => "firefinch ps lists what can be profiled".to_owned(),
        OpenError::Hidden(_) => "run firefinch as that process's user".to_owned(),
        _ => "firefinch ps lists the processes that can be profiled here".to_owned(),
    }
}

fn after_find(error: &FindError) -> String {
    let known = || {
        let versions = Layout::known_versions();
        let versions: Vec<_> = versions.iter().map(|(a, b)| format!("{a}.{b}")).collect();
        versions.join(", ")
    };
    match error {
        FindError::NotPython => {
            "firefinch ps lists the Python processes that can be profiled here".to_owned()
        }
        FindError::NotReady(_) => {
            "try again: the interpreter is starting or shutting down".to_owned()
        }
        FindError::Unsupported(_)
        | FindError::DebugOffsets(DebugOffsetsError::UnknownVersion(_)) => {
            format!(
                "a firefinch that knows this version; this one knows {}",
                known()
            )
        }
        FindError::DebugOffsets(DebugOffsetsError::PreRelease(version)) => format!(
            "run the final release of {}.{}: pre-releases change their layout without saying so",
            version.major, version.minor
        ),
        FindError::DebugOffsets(_) | FindError::Layout(_) | FindError::Unrecognised(_) => {
            "report this with the exact build of the interpreter".to_owned()
        }
    }
}
