use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use firefinch_process::{RunState, Thread};
use nix::unistd;

use super::{Target, until};

/// A target with a busy thread and one that waits inside vfork, until somebody writes to the FIFO.
pub(crate) struct Vforker {
    pub(crate) target: Target,
    pub(crate) thread: Thread,
    fifo: PathBuf,
    _dir: tempfile::TempDir,
}

impl Vforker {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        unistd::mkfifo(&fifo, mode).expect("a FIFO");
        let mut target = Target::start();
        target.order("spin 1");
        target.order(&format!("vfork {}", fifo.display()));
        let process = target.process();
        let thread = until("it waits", || {
            let tids = process.threads().expect("alive").into_iter();
            let mut threads = tids.filter_map(|tid| Thread::open(&process, tid).ok());
            threads.find(|t| match t.run_state() {
                Ok(RunState::Blocked {
                    uninterruptible, ..
                }) => uninterruptible,
                _ => false,
            })
        });
        Self {
            target,
            thread,
            fifo,
            _dir: dir,
        }
    }

    /// Lets the child go on to exec, and with it the thread, which then ends.
    pub(crate) fn finish(&self) {
        let _writer = fs::OpenOptions::new().write(true).open(&self.fifo);
        until("it goes on", || {
            (self.thread.run_state() == Ok(RunState::Dead)).then_some(())
        });
    }
}

impl Drop for Vforker {
    fn drop(&mut self) {
        // The child would wait for ever, and outlive a target that is killed.
        let flags = libc::O_NONBLOCK;
        let mut options = fs::OpenOptions::new();
        let _ = options.write(true).custom_flags(flags).open(&self.fifo);
    }
}
