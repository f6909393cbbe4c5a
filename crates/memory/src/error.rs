use std::fmt;

use crate::RemoteAddr;

/// A read of the target's memory that did not give all the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Where the read started.
    pub addr: RemoteAddr,
    /// How many bytes were asked for.
    pub len: usize,
    /// Why it failed.
    pub kind: ReadErrorKind,
}

/// Why a read failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// Some of the range is not mapped readable (EFAULT, EIO), or the snapshot does not hold it.
    Unmapped,
    /// The process is gone (ESRCH).
    Gone,
    /// The kernel refused, with this errno (EPERM, EACCES).
    Denied(i32),
    /// Another errno.
    Os(i32),
    /// The target's data asks for more bytes than any sane value needs.
    TooLong,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading {} bytes at {}: ", self.len, self.addr)?;
        match self.kind {
            ReadErrorKind::Unmapped => f.write_str("not mapped"),
            ReadErrorKind::Gone => f.write_str("the process is gone"),
            ReadErrorKind::Denied(errno) => write!(f, "denied (errno {errno})"),
            ReadErrorKind::Os(errno) => write!(f, "errno {errno}"),
            ReadErrorKind::TooLong => f.write_str("implausibly long"),
        }
    }
}

impl std::error::Error for ReadError {}
