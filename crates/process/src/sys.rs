//! The system calls that have no safe wrapper elsewhere: all `unsafe` of the workspace.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::Pid;

/// A file descriptor for the process; polls readable once all its threads are
/// gone. ENOSYS before Linux 5.3.
pub(crate) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.get(), 0) };
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::other("bad descriptor"))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a process or thread with this number exists, visible in `/proc` or not.
pub(crate) fn exists(pid: Pid) -> bool {
    // SAFETY: signal 0 is not delivered; the call only checks for existence.
    let result = unsafe { libc::kill(pid.get(), 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}
