//! Opening and reading files below one `/proc/PID`, through a directory handle.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, fstatat};

/// The largest of the small files: `status` and `stat` stay below 4 KB, a
/// cgroup file has a path of at most 4 KB for each of some dozen hierarchies.
const SMALL: u64 = 64 * 1024;

/// A handle on `/proc/PID` or a directory below it. It stays bound to that
/// process or thread: once it has been reaped, opening through it fails with
/// ESRCH or ENOENT even if the number is in use again (fs/proc/base.c,
/// `get_proc_task`, looks up by `struct pid`).
#[derive(Debug)]
pub(crate) struct ProcDir(OwnedFd);

impl ProcDir {
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(open(path, flags, Mode::empty())?))
    }

    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_flags(name, OFlag::O_RDONLY)
    }

    pub(crate) fn open_flags(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        Ok(openat(&self.0, name, flags, Mode::empty())?.into())
    }

    /// A small file, whole; cut at 64 KB.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.read_bounded(name, SMALL)
    }

    pub(crate) fn read_bounded(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.open_file(name)?.take(limit).read_to_end(&mut text)?;
        Ok(text)
    }

    pub(crate) fn read_link(&self, name: &str) -> io::Result<std::ffi::OsString> {
        Ok(readlinkat(&self.0, name)?)
    }

    /// How many links a directory has.
    pub(crate) fn links(&self, name: &str) -> io::Result<usize> {
        let links = fstatat(&self.0, name, AtFlags::empty())?.st_nlink;
        // A number of 32 or of 64 bits, by architecture.
        Ok(usize::try_from(links).unwrap_or(usize::MAX))
    }

    /// The names in a directory that are numbers: processes or threads.
    pub(crate) fn list_numbers(&self, name: &str) -> io::Result<Vec<i32>> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = nix::dir::Dir::openat(&self.0, name, flags, Mode::empty())?;
        let mut numbers = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            let text = entry.file_name().to_str().ok();
            numbers.extend(text.and_then(|t| t.parse::<i32>().ok()));
        }
        Ok(numbers)
    }
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The value of `key` in a `status`-like file: the text after `key:`.
pub(crate) fn field<'a>(status: &'a [u8], key: &str) -> Option<&'a str> {
    // `Name:` comes first and is the target's choice, but its newlines are
    // escaped (fs/proc/array.c, `proc_task_name`), so a line is a line.
    status.split(|b| *b == b'\n').find_map(|line| {
        let rest = line.strip_prefix(key.as_bytes())?.strip_prefix(b":")?;
        Some(std::str::from_utf8(rest).ok()?.trim())
    })
}
