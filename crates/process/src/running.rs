use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::Pid;

/// How many threads of the whole machine are on a CPU or ready for one now,
/// the reader among them, and which number was given last: the fourth and fifth
/// field of `/proc/loadavg` (fs/proc/loadavg.c, `nr_running`).
#[derive(Debug)]
pub(crate) struct RunningThreads(File);

impl RunningThreads {
    /// `None` where the file is not the kernel's: some containers are given
    /// one that is made up, and seconds old.
    pub(crate) fn open() -> Option<Self> {
        let file = File::open("/proc/loadavg").ok()?;
        let is_procfs = fstatfs(&file).ok()?.filesystem_type() == PROC_SUPER_MAGIC;
        is_procfs.then_some(Self(file))
    }

    /// The number, at least 1 as we run ourselves.
    pub(crate) fn count(&self) -> Option<usize> {
        let (count, _) = self.read()?;
        (count > 0).then_some(count)
    }

    /// The number that the last process or thread was given that has come, in
    /// our PID namespace.
    pub(crate) fn newest(&self) -> Option<Pid> {
        let (_, newest) = self.read()?;
        newest
    }

    fn read(&self) -> Option<(usize, Option<Pid>)> {
        let mut buf = [0; 128];
        let len = self.0.read_at(&mut buf, 0).ok()?;
        parse(buf.get(..len)?)
    }
}

/// `0.20 0.18 0.12 1/80 11206`
fn parse(text: &[u8]) -> Option<(usize, Option<Pid>)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(3);
    let count = fields.next()?.split('/').next()?;
    let newest = fields.next().and_then(|newest| newest.parse().ok());
    Some((count.parse().ok()?, newest))
}

#[cfg(test)]
impl From<File> for RunningThreads {
    /// For tests, from any file.
    fn from(file: File) -> Self {
        Self(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number before the slash and the last are the ones; another text has none.
    #[test]
    fn loadavg_files() {
        let newest = Pid::new(11206);
        assert_eq!(parse(b"0.20 0.18 0.12 13/80 11206\n"), Some((13, newest)));
        assert_eq!(parse(b"0.20 0.18 0.12 13/80 x"), Some((13, None)));
        for bad in [&b""[..], b"0.20 0.18 0.12", b"a b c d/e", b"1 2 3 /4"] {
            assert_eq!(parse(bad), None);
        }
    }

    /// Whoever asks runs.
    #[test]
    fn we_run() {
        let running = RunningThreads::open().expect("/proc/loadavg is there");
        assert!(running.count().unwrap() >= 1);
    }
}
