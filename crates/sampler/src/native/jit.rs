use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_memory::RemoteAddr;
use firefinch_native::PerfMap;
use firefinch_process::Process;

/// Names of code made at run time, from the files that the program writes them
/// to as it makes it.
#[derive(Debug, Default)]
pub(super) struct JitNames {
    map: Known,
    dump: Known,
    looked: Option<Instant>,
}

/// What one such file says.
#[derive(Debug, Default)]
struct Known {
    names: PerfMap,
    /// Length and time of the last change when it was read.
    state: Option<(u64, i64, i64)>,
}

/// How often it is looked whether they have grown; reading takes time in
/// proportion to their length.
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

    /// The program names its files by the number that it has itself: any can
    /// have the first (tools/perf/Documentation/jit-interface.txt in Linux); of
    /// the second, CPython's is there (Python/perf_jit_trampoline.c).
    fn read(&mut self, process: &Process) -> Option<()> {
        let own = process.ns_tid(process.pid().leader()).ok()?;
        let age = process.age();
        let open = |path: String| process.open_in_root(path).ok();
        let map = open(format!("/tmp/perf-{own}.map"));
        self.map.update(map, age, PerfMap::read);
        let dump = open(format!("/tmp/jit-{own}.dump"));
        self.dump.update(dump, age, PerfMap::read_dump);
        Some(())
    }
}

impl Known {
    fn update(
        &mut self,
        file: Option<File>,
        age: Duration,
        read: impl FnOnce(File) -> std::io::Result<PerfMap>,
    ) -> Option<()> {
        let file = file?;
        let metadata = file.metadata().ok()?;
        // One that an earlier process of this number has left.
        let changed = metadata.modified().ok()?.elapsed().unwrap_or_default();
        if changed > age.saturating_add(TOLERANCE) {
            return None;
        }
        let state = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if self.state != Some(state) {
            self.names = read(file).ok()?;
            self.state = Some(state);
        }
        Some(())
    }
}
