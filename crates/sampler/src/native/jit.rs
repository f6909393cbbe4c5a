use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_memory::RemoteAddr;
use firefinch_native::PerfMap;
use firefinch_process::{Process, Uid};

/// Names of code made at run time, from the files that the program writes them
/// to as it makes it.
#[derive(Debug, Default)]
pub(super) struct JitNames {
    map: Known,
    dump: Known,
    looked: Option<Instant>,
    refused: Option<String>,
}

/// By what a file is known for one that the program wrote: anybody may put one of
/// that name into `/tmp` before it does.
#[derive(Clone, Copy, Debug)]
struct Author {
    age: Duration,
    user: Uid,
}

/// What one such file says.
#[derive(Debug, Default)]
struct Known {
    names: PerfMap,
    /// Length and time of the last change when it was read.
    state: Option<(u64, i64, i64)>,
}

/// How often it is looked whether they have grown.
const INTERVAL: Duration = Duration::from_millis(500);

/// File systems and the age of a process count time in steps.
const TOLERANCE: Duration = Duration::from_secs(1);

impl JitNames {
    /// The name of the code at an address.
    pub(super) fn find(&mut self, addr: RemoteAddr, process: &Process) -> Option<Arc<str>> {
        let due = self.looked.is_none_or(|then| then.elapsed() >= INTERVAL);
        if due {
            self.looked = Some(Instant::now());
            self.read(process);
        }
        let name = self.map.names.find(addr);
        name.or_else(|| self.dump.names.find(addr)).cloned()
    }

    /// Which file was not believed, and why, if there was one.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The program names its files by the number that it has itself: any can
    /// have the first (tools/perf/Documentation/jit-interface.txt in Linux); of
    /// the second, CPython's is there (Python/perf_jit_trampoline.c).
    fn read(&mut self, process: &Process) -> Option<()> {
        let own = process.ns_tid(process.pid().leader()).ok()?;
        let author = Author {
            age: process.age(),
            user: process.owner().ok()?.uid,
        };
        let path = format!("/tmp/perf-{own}.map");
        let map = process.open_in_root(&path).ok();
        let map = map.map(|file| self.map.update(file, author, PerfMap::read_on));
        self.note(&path, map, author);
        let path = format!("/tmp/jit-{own}.dump");
        let dump = process.open_in_root(&path).ok();
        let dump = dump.map(|file| self.dump.update(file, author, PerfMap::read_dump_on));
        self.note(&path, dump, author);
        Some(())
    }

    fn note(&mut self, path: &str, taken: Option<Result<(), Refused>>, author: Author) {
        if let Some(Err(Refused { owner })) = taken {
            let user = author.user;
            let why = format!("{path} belongs to user {owner}, the process to {user}");
            self.refused = Some(why);
        }
    }
}

/// A file is of a user who is not to name the program's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    owner: Uid,
}

impl Author {
    /// Whether names in a file of this user are the program's: also if they are
    /// root's, who could do anything to it (as `dso__load` in
    /// tools/perf/util/symbol.c of Linux has it).
    fn may_be(self, owner: Uid) -> bool {
        owner == self.user || owner == Uid(0)
    }
}

impl Known {
    /// Reads what has been written since; what cannot be read is left for later.
    fn update(
        &mut self,
        file: File,
        author: Author,
        read: impl FnOnce(&mut PerfMap, File) -> io::Result<()>,
    ) -> Result<(), Refused> {
        let Ok(metadata) = file.metadata() else {
            return Ok(());
        };
        let changed = metadata.modified().map(|then| then.elapsed());
        let age = changed.map_or(Duration::MAX, Result::unwrap_or_default);
        if age > author.age.saturating_add(TOLERANCE) {
            // One that an earlier process of this number has left.
            return Ok(());
        }
        let owner = Uid(metadata.uid());
        if !author.may_be(owner) {
            *self = Self::default();
            return Err(Refused { owner });
        }
        let state = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if self.state != Some(state) && read(&mut self.names, file).is_ok() {
            self.state = Some(state);
        }
        Ok(())
    }
}
