use firefinch_cpython::{CodeError, ObjectError, StackError};
use firefinch_memory::ReadErrorKind;
use firefinch_profile::LossReason;

/// Why a thread's stack is not known at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The stack could not be read.
    Stack(StackError),
    /// A code object in it could not be decoded.
    Code(CodeError),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stack(e) => e.fmt(f),
            Self::Code(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Lost {}

impl Lost {
    /// The reason under which the loss is counted.
    pub fn reason(&self) -> LossReason {
        let read = match self {
            Self::Stack(StackError::Read(read))
            | Self::Code(CodeError::Object(ObjectError::Read(read))) => read,
            Self::Stack(StackError::Torn) => return LossReason::Torn,
            Self::Stack(StackError::TooDeep) => return LossReason::TooDeep,
            Self::Stack(StackError::Garbage(_)) | Self::Code(_) => return LossReason::BadData,
        };
        match read.kind {
            ReadErrorKind::Gone => LossReason::NotReady,
            ReadErrorKind::Denied(_) => LossReason::Denied,
            _ => LossReason::Unreadable,
        }
    }
}
