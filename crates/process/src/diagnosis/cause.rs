use std::fmt;

use crate::{Gid, Pid, Uid};

/// The likely reason of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A seccomp filter on us forbids the system call.
    SeccompFilter,
    /// No such process where we are: it lives in another PID namespace, or is gone.
    OtherPidNamespace,
    /// The container was given CAP_SYS_PTRACE, but we run as a user who does not get it.
    CapabilityInert,
    /// It lives in a user namespace in which we have no rights.
    UserNamespace,
    /// It runs as another user.
    DifferentUser {
        /// Our user.
        ours: Uid,
        /// Its user.
        theirs: Uid,
    },
    /// It runs as another group.
    DifferentGroup {
        /// Our group.
        ours: Gid,
        /// Its group.
        theirs: Gid,
    },
    /// It has been closed to inspection: it changed its user, was started from
    /// a file it may not read, or asked for it (`PR_SET_DUMPABLE`).
    NotDumpable,
    /// It has capabilities that we have not.
    MoreCapabilities,
    /// Yama forbids it: `kernel.yama.ptrace_scope` is this.
    YamaPtraceScope(u8),
    /// AppArmor, SELinux or the like forbids it, by the rules for this label.
    SecurityModule(String),
    /// Its threads cannot be stopped, as this process traces it already.
    AlreadyTraced(Pid),
    /// None of the known reasons fits.
    NotPermitted,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeccompFilter => f.write_str("a seccomp filter forbids us the system call"),
            Self::OtherPidNamespace => {
                f.write_str("there is no such process in this PID namespace")
            }
            Self::CapabilityInert => {
                f.write_str("the container has SYS_PTRACE, but our user does not get it")
            }
            Self::UserNamespace => f.write_str("it lives in another user namespace"),
            Self::DifferentUser { ours, theirs } => {
                write!(f, "it runs as user {theirs} and we as user {ours}")
            }
            Self::DifferentGroup { ours, theirs } => {
                write!(f, "it runs as group {theirs} and we as group {ours}")
            }
            Self::NotDumpable => f.write_str("it is closed to inspection (not dumpable)"),
            Self::MoreCapabilities => f.write_str("it has capabilities that we have not"),
            Self::YamaPtraceScope(scope) => {
                write!(f, "kernel.yama.ptrace_scope is {scope}")
            }
            Self::SecurityModule(label) if label.is_empty() => {
                f.write_str("a security module forbids it")
            }
            Self::SecurityModule(label) => {
                write!(f, "a security module forbids it, by its rules for {label}")
            }
            Self::AlreadyTraced(tracer) => write!(f, "process {tracer} traces it already"),
            Self::NotPermitted => f.write_str("the kernel does not permit it, for no known reason"),
        }
    }
}
