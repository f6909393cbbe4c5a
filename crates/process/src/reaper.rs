//! Collects threads that die while they are attached, from a thread of its own.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sys::{self, Collect};
use crate::{Pid, Tid};

/// A way out of a deadlock in the kernel.
///
/// A thread that calls `execve` holds `cred_guard_mutex` and waits until all
/// other threads of its process are reaped (fs/exec.c, `de_thread`; Linux
/// 6.18). Those that we have attached are ours to reap. But PTRACE_SEIZE waits
/// for that mutex (kernel/ptrace.c, `ptrace_attach`), as does
/// `process_vm_readv` before Linux 5.7: while we wait there, we reap nobody,
/// and target and tracer hang for ever. Any thread of the tracer's process may
/// reap, so this one does, a few times a second, while anything is attached.
#[derive(Debug)]
pub(crate) struct Reaper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    attached: Vec<Tid>,
    end: bool,
}

/// How long a target that calls `execve` may be delayed. Twenty wake-ups a second
/// cost some 0.04 % of a core.
const INTERVAL: Duration = Duration::from_millis(50);

impl Reaper {
    /// Starts the thread. `spare` is never reaped.
    pub(crate) fn start(spare: Option<Pid>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let builder = std::thread::Builder::new().name("reaper".to_owned());
        let thread = Some(builder.spawn(move || theirs.run(spare))?);
        Ok(Self { shared, thread })
    }

    /// One more thread is attached.
    pub(crate) fn watch(&self, tid: Tid) {
        self.shared.lock().attached.push(tid);
    }

    /// Only these are attached now.
    pub(crate) fn watch_only(&self, tids: &[Tid]) {
        let attached = &mut self.shared.lock().attached;
        attached.clear();
        attached.extend_from_slice(tids);
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.ended.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, spare: Option<Pid>) {
        let mut state = self.lock();
        while !state.end {
            let waited = self.ended.wait_timeout(state, INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            for tid in &state.attached {
                if Some(*tid) != spare.map(Pid::leader) {
                    // Only ends are collected, so no stop is taken from the
                    // tracer, which learns of the end by ECHILD.
                    let _ = sys::wait_now(*tid, Collect::Ends);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
