use nix::unistd;

use crate::bound::Bound;
use crate::{Thread, wake_promptly};

/// Keeps the calling thread on the CPU of a thread that it looks at.
///
/// Nobody else runs on a CPU that we run on: from our getting up there until we sleep, the
/// thread that was running stands still, without being stopped. It loses the time that the
/// look takes.
#[derive(Debug)]
pub struct Near {
    bound: Bound,
}

impl Near {
    /// For the calling thread, which is to get up promptly.
    pub fn new() -> Self {
        wake_promptly();
        Self {
            bound: Bound::new(unistd::gettid()),
        }
    }

    /// To where that thread is, before we sleep; to wherever the scheduler likes, if that
    /// cannot be told, or is where we may not be. Whether we are bound elsewhere now than
    /// before.
    pub fn follow(&mut self, thread: &Thread) -> bool {
        let before = self.bound.at();
        self.bound.follow(thread.stat().ok().as_ref());
        self.bound.at() != before
    }

    /// To wherever the scheduler likes.
    pub fn leave(&mut self) {
        self.bound.leave();
    }
}

impl Default for Near {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

    use super::*;
    use crate::Process;
    use crate::list::own_pid;

    fn allowed() -> CpuSet {
        sched_getaffinity(unistd::gettid()).unwrap()
    }

    fn only(cpu: usize) -> CpuSet {
        let mut cpus = CpuSet::new();
        cpus.set(cpu).unwrap();
        cpus
    }

    /// On each CPU that a thread is bound to we are there too, and anywhere again when we have left.
    #[test]
    fn goes_where_the_thread_is() {
        let before = allowed();
        let cpus = (0..CpuSet::count()).filter(|cpu| before.is_set(*cpu) == Ok(true));
        let (numbers, number) = mpsc::channel();
        let (places, place) = mpsc::channel::<usize>();
        let (arrivals, arrived) = mpsc::channel();
        let other = std::thread::spawn(move || {
            numbers.send(unistd::gettid()).unwrap();
            for cpu in place {
                sched_setaffinity(unistd::gettid(), &only(cpu)).unwrap();
                arrivals.send(()).unwrap();
            }
        });
        let tid = crate::Tid::new(number.recv().unwrap().as_raw()).unwrap();
        let process = Process::open(own_pid()).unwrap();
        let thread = Thread::open(&process, tid).unwrap();
        let mut near = Near::new();
        for cpu in cpus {
            places.send(cpu).unwrap();
            arrived.recv().unwrap();
            assert!(near.follow(&thread));
            assert!(!near.follow(&thread));
            assert_eq!(sched_getcpu(), Ok(cpu));
            assert_eq!(allowed(), only(cpu));
        }
        near.leave();
        assert_eq!(allowed(), before);
        near.follow(&thread);
        drop(near);
        assert_eq!(allowed(), before);
        drop(places);
        other.join().unwrap();
    }
}
