use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::Process;

/// Whether it has exited.
impl Process {
    /// Whether any thread of it is still there. A process whose first thread
    /// has ended (a "zombie leader") is alive while others run.
    pub fn is_alive(&self) -> bool {
        !self.wait_exit(Duration::ZERO)
    }

    /// Waits until it has exited, at most `timeout`; whether it has. Never
    /// collects the exit status: that is for its parent.
    pub fn wait_exit(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map_or(timeout, |d| d.saturating_duration_since(Instant::now()));
            let exited = match &self.pidfd {
                Some(fd) => {
                    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                    // Rounded up, so as not to spin through the last millisecond.
                    let millis = left.as_nanos().div_ceil(1_000_000);
                    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
                    let wait = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
                    matches!(poll(&mut fds, wait), Ok(count) if count > 0)
                }
                None => {
                    let gone = !self.has_living_thread();
                    if !gone {
                        // No pidfd: look every 10 ms.
                        std::thread::sleep(left.min(Duration::from_millis(10)));
                    }
                    gone
                }
            };
            if exited || left.is_zero() {
                return exited;
            }
        }
    }

    fn has_living_thread(&self) -> bool {
        self.thread_lives(self.pid.leader()) || self.living_thread().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::Pid;

    /// Without a pidfd, as before Linux 5.3, the end of a process is noticed as well.
    #[test]
    fn exit_without_pidfd() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let mut process = Process::open(pid).unwrap();
        assert!(process.pidfd().is_some());
        process.pidfd = None;
        assert!(process.is_alive());
        assert!(!process.wait_exit(Duration::from_millis(1)));
        drop(child.stdin.take());
        assert!(process.wait_exit(Duration::from_secs(60)));
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(!process.is_alive());
        assert!(process.threads().unwrap_err().is_gone());
    }
}
