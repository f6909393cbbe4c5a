use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::{self, Pid};

/// Has whoever samples make room for the thread that is sampled.
///
/// The scheduler may put both on one CPU and leave them there while another one is
/// idle, as it is told to where idle CPUs are given back to the host. Then the
/// thread waits not only for its stop but for all the rest that a sample takes:
/// of a Python program at 1 kHz 7.7 % of its work was lost, and 2.4 % when we ran
/// elsewhere.
///
/// Where the other CPUs are busy this costs ticks, and is right all the same: of two
/// with a program on each we missed 5.3 % of ticks instead of 3.7 %, and the thread
/// lost 1.8 % of its work instead of 6.5 %.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Where the thread was last time.
    at: Option<usize>,
    /// How often it has been there in a row since then, or since we tried.
    visits: u32,
    away: Option<Away>,
}

/// The threads of ours that have gone. One that samples several processes goes
/// for one of them at a time: else who comes back first would not know where it
/// was at the beginning.
static GONE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A thread of ours that has gone.
#[derive(Debug)]
struct Away {
    thread: Pid,
    before: CpuSet,
    now: CpuSet,
}

/// Who has been on a CPU for so many visits stays there for some time. Threads
/// that run on different ones in turn would chase us around.
const SETTLED: u32 = 8;

impl Aside {
    /// The thread that is sampled is there, as far as is known: if it stays, and
    /// the calling thread is there too, that one goes elsewhere.
    pub(crate) fn make_room(&mut self, at: Option<usize>) {
        if self.at != at {
            self.come_back();
            self.at = at;
            self.visits = 0;
        }
        self.visits += 1;
        if self.visits < SETTLED {
            return;
        }
        self.visits = 0;
        let here = sched_getcpu().ok();
        if let Some(at) = at.filter(|_| self.away.is_none() && at == here) {
            self.away = Away::from(at);
        }
    }

    /// To wherever the scheduler likes.
    pub(crate) fn come_back(&mut self) {
        let Some(away) = self.away.take() else {
            return;
        };
        // Unless somebody else has bound us meanwhile.
        if sched_getaffinity(away.thread) == Ok(away.now) {
            // Fails only if none of them is left to us.
            let _ = sched_setaffinity(away.thread, &away.before);
        }
        gone().remove(&away.thread.as_raw());
    }
}

fn gone() -> MutexGuard<'static, BTreeSet<i32>> {
    GONE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Away {
    /// `None` if we may run nowhere else.
    fn from(at: usize) -> Option<Self> {
        let thread = unistd::gettid();
        let mut gone = gone();
        if gone.contains(&thread.as_raw()) {
            return None;
        }
        let before = sched_getaffinity(thread).ok()?;
        let mut now = before;
        now.unset(at).ok()?;
        sched_setaffinity(thread, &now).ok()?;
        gone.insert(thread.as_raw());
        Some(Self {
            thread,
            before,
            now,
        })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.come_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> CpuSet {
        sched_getaffinity(unistd::gettid()).unwrap()
    }

    /// Whether there is one CPU only; says so if there is, and fails where nothing may
    /// be left out.
    fn is_alone(cpus: &CpuSet) -> bool {
        let cpus = (0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu) == Ok(true));
        let is_alone = cpus.count() < 2;
        if is_alone {
            let required = std::env::var_os("CI").is_some_and(|v| v == "true");
            assert!(!required, "this test needs two CPUs");
            eprintln!("not run: this test needs two CPUs");
        }
        is_alone
    }

    /// Goes away from a CPU on which the other thread has settled; tells from which.
    fn go_away(aside: &mut Aside) -> usize {
        loop {
            let at = sched_getcpu().unwrap();
            for _ in 0..SETTLED {
                aside.make_room(Some(at));
            }
            // We may have been moved in between by others.
            if aside.away.is_some() {
                return at;
            }
        }
    }

    /// Who samples leaves the CPU of a thread that has settled there, and may go anywhere again once that thread is elsewhere, or no longer sampled.
    #[test]
    fn leaves_and_comes_back() {
        let before = allowed();
        if is_alone(&before) {
            return;
        }
        let mut aside = Aside::default();
        for end in [
            |aside: &mut Aside| aside.make_room(None),
            |aside: &mut Aside| *aside = Aside::default(),
        ] {
            let at = go_away(&mut aside);
            assert_ne!(sched_getcpu(), Ok(at));
            assert_eq!(allowed().is_set(at), Ok(false));
            end(&mut aside);
            assert_eq!(allowed(), before);
        }
    }

    /// Who has gone for one process does not go for another one as well, and is where it was at the beginning however they come back.
    #[test]
    fn goes_for_one() {
        let before = allowed();
        if is_alone(&before) {
            return;
        }
        let (mut first, mut second) = (Aside::default(), Aside::default());
        go_away(&mut first);
        let away = allowed();
        for _ in 0..SETTLED {
            second.make_room(sched_getcpu().ok());
        }
        assert_eq!(allowed(), away);
        first.come_back();
        second.come_back();
        assert_eq!(allowed(), before);
        go_away(&mut second);
    }

    /// A thread that is on another CPU each time drives nobody away.
    #[test]
    fn stays_where_nobody_settles() {
        let before = allowed();
        let mut aside = Aside::default();
        for _ in 0..4 * SETTLED {
            for at in [sched_getcpu().ok(), None] {
                aside.make_room(at);
                assert_eq!(allowed(), before);
            }
        }
    }

    /// A binding that somebody else gave us meanwhile is kept.
    #[test]
    fn others_may_bind_us() {
        let before = allowed();
        if is_alone(&before) {
            return;
        }
        let mut aside = Aside::default();
        let at = go_away(&mut aside);
        let mut bound = CpuSet::new();
        bound.set(at).unwrap();
        sched_setaffinity(unistd::gettid(), &bound).unwrap();
        aside.come_back();
        assert_eq!(allowed(), bound);
    }
}
