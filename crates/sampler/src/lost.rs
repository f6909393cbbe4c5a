use firefinch_cpython::{CodeError, Leaf, ObjectError, StackError};
use firefinch_memory::ReadErrorKind;
use firefinch_process::StopFailure;
use firefinch_profile::LossReason;

/// Why a thread's stack is not known at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The stack could not be read.
    Stack(StackError),
    /// A code object in it could not be decoded.
    Code(CodeError),
    /// It runs, has no stack but a native one, and could not be stopped.
    NotStopped(StopFailure),
    /// It has no stack but a native one, and that could not be captured.
    NotCaptured,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stack(e) => e.fmt(f),
            Self::Code(e) => e.fmt(f),
            Self::NotStopped(StopFailure::Gone) => f.write_str("the thread has ended"),
            Self::NotStopped(StopFailure::Waits) => f.write_str("it blocked and woke up each time"),
            Self::NotStopped(StopFailure::TimedOut) => f.write_str("it did not stop in time"),
            Self::NotStopped(StopFailure::Denied(errno)) => {
                write!(f, "it may not be stopped: {errno}")
            }
            Self::NotCaptured => f.write_str("its registers or its stack could not be read"),
        }
    }
}

impl std::error::Error for Lost {}

impl Lost {
    /// The newest frame of the stack that stands for this one too, which will come, most
    /// likely.
    pub fn waits_for(&self) -> Option<Leaf> {
        match self {
            Self::Stack(StackError::Deferred(leaf)) => Some(*leaf),
            _ => None,
        }
    }

    /// Whether what was found instead of the stack waits to be believed.
    pub fn is_unproved(&self) -> bool {
        matches!(self, Self::Stack(StackError::Unproved))
    }

    /// The reason under which the loss is counted.
    pub fn reason(&self) -> LossReason {
        let read = match self {
            Self::Stack(StackError::Read(read))
            | Self::Code(CodeError::Object(ObjectError::Read(read))) => read,
            Self::Stack(StackError::Torn | StackError::Deferred(_) | StackError::Unproved) => {
                return LossReason::Torn;
            }
            Self::Stack(StackError::TooDeep) => return LossReason::TooDeep,
            Self::Stack(StackError::Garbage(_)) | Self::Code(_) => return LossReason::BadData,
            Self::NotStopped(StopFailure::Gone) => return LossReason::ThreadGone,
            Self::NotStopped(StopFailure::Waits) => return LossReason::Torn,
            Self::NotStopped(StopFailure::TimedOut) => return LossReason::StopFailed,
            Self::NotStopped(StopFailure::Denied(_)) => return LossReason::Denied,
            Self::NotCaptured => return LossReason::Unreadable,
        };
        match read.kind {
            ReadErrorKind::Gone => LossReason::NotReady,
            ReadErrorKind::Denied(_) => LossReason::Denied,
            _ => LossReason::Unreadable,
        }
    }
}
