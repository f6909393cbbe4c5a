use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_memory::RemoteAddr;
use firefinch_native::PerfMap;
use firefinch_process::Process;

/// Names of code made at run time, from the file that the program writes them
/// to as it makes it.
#[derive(Debug, Default)]
pub(super) struct JitNames {
    known: PerfMap,
    /// Length and time of the last change when it was read.
    state: Option<(u64, i64, i64)>,
    looked: Option<Instant>,
}

/// How often it is looked whether the file has grown; reading it takes time in
/// proportion to its length.
const INTERVAL: Duration = Duration::from_millis(500);

impl JitNames {
    /// The name of the code at an address.
    pub(super) fn find(&mut self, addr: RemoteAddr, process: &Process) -> Option<Arc<str>> {
        let due = self.looked.is_none_or(|then| then.elapsed() >= INTERVAL);
        if due {
            self.looked = Some(Instant::now());
            self.read(process);
        }
        self.known.find(addr).cloned()
    }

    fn read(&mut self, process: &Process) -> Option<()> {
        let file = open(process)?;
        let metadata = file.metadata().ok()?;
        let state = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if self.state != Some(state) {
            self.known = PerfMap::read(file).ok()?;
            self.state = Some(state);
        }
        Some(())
    }
}

/// The program names the file by the number that it has itself.
fn open(process: &Process) -> Option<File> {
    let own = process.ns_tid(process.pid().leader()).ok()?;
    process.open_in_root(format!("/tmp/perf-{own}.map")).ok()
}
