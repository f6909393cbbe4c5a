use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use firefinch_cpython::{DebugOffsetsError, FindError, Layout};
use firefinch_process::{AccessError, Cause, Diagnosis, OpenError, Pid, Place, Uid};
use firefinch_report::misleads;
use firefinch_sampler::AttachError;

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Nothing was sampled.
pub(crate) const NOTHING: u8 = 3;
/// The result is not where it was asked for.
pub(crate) const ELSEWHERE: u8 = 4;

/// A wait shorter than this was none.
const MENTIONED: Duration = Duration::from_millis(100);

/// The system gives us no more threads.
pub(crate) fn no_thread(error: io::Error) -> Failure {
    Failure::new("cannot start a thread", error, "ulimit -u says how many")
}

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
    pub(crate) fn access(error: &AccessError) -> Self {
        let what = format!("cannot profile process {}", error.pid);
        if error.is_gone() {
            return Self::new(
                what,
                format!("it has ended meanwhile: {error}"),
                "firefinch ps lists the processes that can be profiled here",
            );
        }
        match error.diagnose() {
            Some(diagnosis) => Self::new(what, refusal(error, &diagnosis), remedy(&diagnosis)),
            None => Self::new(what, error, "try again, and report it if it stays so"),
        }
    }

    pub(crate) fn attach(pid: Pid, error: &AttachError) -> Self {
        let what = format!("cannot profile process {pid}");
        match error {
            AttachError::Open(open) => Self::new(what, open, after_open(open)),
            AttachError::Access(access) => Self::access(access),
            AttachError::NoInterpreter { error, exe, waited } => {
                let exe = exe.as_deref().unwrap_or("(unreadable)");
                let waited = if *waited < MENTIONED {
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

/// Writes an answer to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough (head) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            "cannot write to standard output",
            error,
            "make room where standard output goes",
        )
        .with_code(ELSEWHERE)),
        _ => Ok(()),
    }
}

/// Text that comes from a target must neither steer the terminal nor look like another.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c| match misleads(c) {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    text.chars().map(shown).collect()
}

/// What was refused, and why.
pub(crate) fn refusal(error: &AccessError, diagnosis: &Diagnosis) -> String {
    match &diagnosis.cause {
        Some(Cause::DifferentUser { ours, theirs }) => format!(
            "{error}; it runs as {} and we as {}",
            user(*theirs),
            user(*ours)
        ),
        Some(cause) => format!("{error}; {cause}"),
        None => error.to_string(),
    }
}

fn user(uid: Uid) -> String {
    match uid.name() {
        Some(name) => format!("user {name} ({uid})"),
        None => format!("user {uid}"),
    }
}

/// The number of CAP_SYS_PTRACE (include/uapi/linux/capability.h).
const CAP_SYS_PTRACE: u32 = 19;

/// What to do about a refusal. Whoever is root already is not told to become it.
pub(crate) fn remedy(diagnosis: &Diagnosis) -> String {
    let us = &diagnosis.probes.us;
    let remedy = diagnosis.remedy().unwrap_or_default();
    if diagnosis.place != Place::Host || us.uid != Uid(0) || !remedy.contains("sudo") {
        return remedy;
    }
    if us.effective.has(CAP_SYS_PTRACE) {
        return "run it outside of the sandbox that this root is in".to_owned();
    }
    "run it with CAP_SYS_PTRACE, which this root lacks (CapEff in /proc/self/status)".to_owned()
}

fn after_open(error: &OpenError) -> String {
    match error {
        OpenError::NoSuchProcess(_) => {
            "firefinch ps lists the processes that can be profiled here".to_owned()
        }
        OpenError::IsThread { of, .. } => format!("use -p {of}"),
        OpenError::Zombie(_) => {
            "nothing can be done: it has ended, and only its exit status is left".to_owned()
        }
        OpenError::Hidden(_) => {
            "run firefinch as that process's user, or in the group that /proc is open to".to_owned()
        }
        OpenError::ForeignProc(_) => {
            "mount the /proc of this PID namespace: mount -t proc proc /proc".to_owned()
        }
        OpenError::Io { errno, .. } if !errno.is_denied() => {
            "try again, and report it if it stays so".to_owned()
        }
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
