use std::time::{Duration, Instant};

use firefinch_process::{Device, Mapping};

/// When to look for an interpreter in a process that had none: a program may
/// load one late, or be on the way to becoming one.
#[derive(Debug)]
pub(crate) struct Search {
    due: Instant,
    pause: Duration,
    /// The files it executed when none was found.
    files: Vec<(Device, u64)>,
    /// There is an interpreter that is not ready yet, or no more.
    expected: bool,
}

/// A program that has just been started loads its libraries in this time.
const FIRST: Duration = Duration::from_millis(10);
/// To look costs some 100 µs.
const LAST: Duration = Duration::from_secs(1);

impl Search {
    pub(crate) fn new() -> Self {
        Self {
            due: Instant::now(),
            pause: FIRST,
            files: Vec::new(),
            expected: false,
        }
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Whether there is reason to search what is mapped now; notes that it was
    /// looked at.
    pub(crate) fn is_worthwhile(&mut self, mappings: &[Mapping]) -> bool {
        let code = mappings.iter().filter(|m| m.perms.exec && m.inode != 0);
        let mut files: Vec<_> = code.map(|m| (m.device, m.inode)).collect();
        files.sort_unstable();
        files.dedup();
        let changed = files != self.files;
        self.files = files;
        self.due = Instant::now() + self.pause;
        self.pause = match changed {
            true => FIRST,
            false => (self.pause * 2).min(LAST),
        };
        changed || self.expected
    }

    /// Notes that none was found, and whether one is there that is not ready.
    pub(crate) fn failed(&mut self, expected: bool) {
        self.expected = expected;
    }
}

#[cfg(test)]
mod tests {
    use firefinch_memory::RemoteAddr;
    use firefinch_process::{Backing, Perms};

    use super::*;

    fn code(inode: u64) -> Mapping {
        Mapping {
            start: RemoteAddr::new(inode << 12),
            end: RemoteAddr::new((inode + 1) << 12),
            perms: Perms {
                exec: true,
                ..Perms::default()
            },
            offset: 0,
            device: Device::default(),
            inode,
            backing: Backing::Anonymous,
        }
    }

    /// The same files are searched once, unless something that is not ready yet was in them; memory without a file is no news; pauses grow until there is news.
    #[test]
    fn only_news_is_searched() {
        let mut search = Search::new();
        assert!(search.is_due());
        assert!(search.is_worthwhile(&[code(1), code(2)]));
        search.failed(false);
        assert!(!search.is_due());
        assert!(!search.is_worthwhile(&[code(2), code(0), code(1), code(1)]));
        assert!(search.pause > FIRST);
        assert!(search.is_worthwhile(&[code(1), code(2), code(3)]));
        assert_eq!(search.pause, FIRST);
        search.failed(true);
        assert!(search.is_worthwhile(&[code(1), code(2), code(3)]));
        search.failed(false);
        for _ in 0..100 {
            assert!(!search.is_worthwhile(&[code(1), code(2), code(3)]));
        }
        assert_eq!(search.pause, LAST);
    }
}
