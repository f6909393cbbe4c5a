use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use nix::sys::resource::{Resource, getrlimit};

/// A file that is read over and over: opened at the first use, and kept open
/// while there are descriptors to spare. Beyond that it is opened for each
/// read, which costs some 3 µs more.
#[derive(Debug, Default)]
pub(crate) struct KeptFile(OnceCell<File>);

impl KeptFile {
    pub(crate) fn is_open(&self) -> bool {
        self.0.get().is_some()
    }

    /// Reads from the start, in one call: the kernel writes the small files of
    /// `/proc` in one piece (`single_open`), anew for each read at offset 0.
    /// `check` is called after a file was opened and before it is believed.
    pub(crate) fn read(
        &self,
        buf: &mut [u8],
        open: impl FnOnce() -> io::Result<File>,
        check: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<usize> {
        if let Some(file) = self.0.get() {
            return file.read_at(buf, 0);
        }
        let file = open()?;
        check()?;
        let len = file.read_at(buf, 0)?;
        if may_keep(&file) {
            let _ = self.0.set(file);
        }
        Ok(len)
    }
}

/// The kernel gives each new file the lowest number that is free (open(2)), so
/// the number says how many are in use, whoever uses them.
fn may_keep(file: &File) -> bool {
    let number = u64::try_from(file.as_raw_fd()).unwrap_or(u64::MAX);
    number < limit() / 2
}

/// How many processes may be open at a time if each takes so many descriptors that
/// it cannot do without. Those have half of all there are, files that are only kept
/// for being faster the other half.
pub fn most_processes(descriptors_each: usize) -> usize {
    let half = usize::try_from(limit() / 2).unwrap_or(usize::MAX);
    half / descriptors_each.max(1)
}

fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}
