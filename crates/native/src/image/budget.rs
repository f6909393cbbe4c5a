use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that is held of one file, read or unpacked, in bytes. The largest debug
/// information of today's programs, a browser's, is about a gigabyte, and twice while
/// its units are taken out of it.
const OF_FILE: u64 = 2 << 30;

/// The same of all files together.
const OF_ALL: u64 = 4 << 30;

/// Who holds what of all files: each profiler has one memory.
static ALL: AtomicU64 = AtomicU64::new(OF_ALL);

/// How much more may be held of a file. A file may claim any length, take no place on its
/// disk, and say of each of its sections that it is packed a thousand to one.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    of_file: Arc<AtomicU64>,
    of_all: &'static AtomicU64,
}

/// Bytes that are held, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::within(&ALL)
    }
}

impl Budget {
    fn within(of_all: &'static AtomicU64) -> Self {
        Self {
            of_file: Arc::new(AtomicU64::new(OF_FILE)),
            of_all,
        }
    }

    /// Takes so many bytes, `None` if there are fewer left.
    pub(crate) fn take(&self, bytes: u64) -> Option<Held> {
        subtract(&self.of_file, bytes)?;
        if subtract(self.of_all, bytes).is_none() {
            self.of_file.fetch_add(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Held {
            budget: self.clone(),
            bytes,
        })
    }
}

fn subtract(from: &AtomicU64, bytes: u64) -> Option<()> {
    let rest = |left: u64| left.checked_sub(bytes);
    let done = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
    done.is_ok().then_some(())
}

impl Drop for Held {
    fn drop(&mut self) {
        let Budget { of_file, of_all } = &self.budget;
        of_file.fetch_add(self.bytes, Ordering::Relaxed);
        of_all.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a file no more is held than may be, of all files together neither, and what is
    /// dropped can be taken again.
    #[test]
    fn what_is_held() {
        static ALL: AtomicU64 = AtomicU64::new(OF_ALL);
        let first = Budget::within(&ALL);
        let half = first.take(OF_FILE / 2).unwrap();
        assert!(first.take(OF_FILE / 2 + 1).is_none());
        let rest = first.take(OF_FILE / 2).unwrap();
        assert!(first.take(1).is_none());
        let others: Vec<_> = (0..8).map(|_| Budget::within(&ALL).take(OF_FILE)).collect();
        let held = others.iter().flatten().count() as u64;
        assert!(held < OF_ALL / OF_FILE, "{held}");
        drop((half, others));
        assert!(first.take(OF_FILE / 2 + 1).is_none());
        assert!(first.take(OF_FILE / 2).is_some());
        drop(rest);
        assert!(first.take(OF_FILE).is_some());
    }
}
