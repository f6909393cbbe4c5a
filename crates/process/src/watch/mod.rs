mod watched;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::running::RunningThreads;
use crate::{Activity, Cost, Process, Thread, Tid};

use watched::Watched;
pub use watched::{Look, Question};

/// Looks at many threads of one process again and again, and at those that did
/// not run as little as can be.
///
/// What is known of a thread that waits stays true until it runs. Two things
/// tell that it has not:
///
/// **Its own figures.** `timeslices` counts how often it was given a CPU
/// (`sched_info_arrive`, kernel/sched/stats.h), at the moment it is. The figures
/// are read *before* its activity. If that says "waiting", the thread was off
/// the CPU then: the kernel has made sure of it (`task_current_syscall`,
/// lib/syscall.c, waits until it is descheduled). To be on a CPU at any later
/// time it has to be given one, which changes the figures. So equal bytes mean
/// that it has not run since. For a thread last seen *running* they mean
/// nothing, as those of a running thread stand still between scheduler ticks;
/// such a thread is looked at each time, and its figures are read once it waits.
///
/// **The figures of the whole,** in two calls however many threads wait:
///
/// - The CPU clock of the process is the sum of its threads' run times, the
///   ended ones' included (`thread_group_cputime`, kernel/sched/cputime.c). All
///   only grow. The clock was read before the figures of each thread, and is
///   now read after those of the threads that are awake; so if it has grown by
///   exactly what these have, nobody else's run time has.
/// - That alone would miss a thread that has been switched in and has not yet
///   met a scheduler tick: its run time still stands. But then it is on a CPU
///   *now*, and counts among the running threads of the machine. If those are
///   no more than we and the awake threads seen running, it is not.
///
/// On a machine that is busy with other things, or while threads run that are
/// not watched, the second way fails and each thread's own figures are read.
/// They are read in any case once a second: where the kernel subtracts the time
/// that a hypervisor or interrupts took (`update_rq_clock_task`,
/// kernel/sched/core.c), a run of microseconds may have taken no time at all.
///
/// The second alone, one call, tells that nobody else runs *now*, which is all
/// that a profile of running threads needs: see [`Question`]. (The clock visits
/// every thread, at some 0.2 µs each.)
///
/// A thread that has been woken and has not yet been given a CPU counts as
/// waiting still, as it has not run.
#[derive(Debug)]
pub struct Watch {
    threads: Vec<Watched>,
    by_tid: HashMap<Tid, usize>,
    /// Those of which it is not known that they wait.
    awake: Vec<usize>,
    /// Whether all others were found not to have run at the last look.
    proved: bool,
    /// Those that the last look has looked at.
    looked_at: Vec<usize>,
    /// The sum of the run times of all others.
    still_ns: u64,
    /// By how much the clock of the process exceeds the sum of all threads'
    /// run times: what ended and unwatched threads have used.
    beyond_ns: Option<u64>,
    running: Option<RunningThreads>,
    /// With so few still threads their own figures cost less than those of the
    /// whole.
    few: usize,
    looked: Option<Instant>,
    swept: Option<Instant>,
    cost: Cost,
}

/// A look that is younger than this is as good as a new one.
const FRESH: Duration = Duration::from_micros(100);

/// How long the figures of the whole are believed.
const SWEEP: Duration = Duration::from_secs(1);

const FEW: usize = 4;

impl Watch {
    /// Watches nobody yet.
    pub fn new() -> Self {
        Self {
            threads: Vec::new(),
            by_tid: HashMap::new(),
            awake: Vec::new(),
            proved: false,
            looked_at: Vec::new(),
            still_ns: 0,
            beyond_ns: None,
            running: RunningThreads::open(),
            few: FEW,
            looked: None,
            swept: None,
            cost: Cost::default(),
        }
    }

    /// Watches these threads from now on. Those that were watched before stay
    /// what they are; one that does not exist is left out.
    pub fn set_threads(&mut self, process: &Process, tids: impl IntoIterator<Item = Tid>) {
        let old = std::mem::take(&mut self.threads).into_iter();
        let mut old: HashMap<Tid, Watched> = old.map(|w| (w.thread.tid(), w)).collect();
        self.by_tid.clear();
        for tid in tids {
            if self.by_tid.contains_key(&tid) {
                continue;
            }
            // The number of one that has ended may have been given anew.
            let known = old.remove(&tid).filter(|w| w.look != Look::Gone);
            let watched = known.or_else(|| Some(Watched::new(Thread::open(process, tid).ok()?)));
            if let Some(watched) = watched {
                self.by_tid.insert(tid, self.threads.len());
                self.threads.push(watched);
            }
        }
        self.awake.clear();
        self.beyond_ns = None;
        self.looked = None;
    }

    /// Where the thread is in the watch, as of the last
    /// [`set_threads`](Self::set_threads).
    pub fn index(&self, tid: Tid) -> Option<usize> {
        self.by_tid.get(&tid).copied()
    }

    /// The thread itself.
    pub fn thread(&self, index: usize) -> Option<&Thread> {
        self.threads.get(index).map(|watched| &watched.thread)
    }

    /// What was seen of a thread at the last [`look`](Self::look).
    pub fn seen(&self, index: usize) -> Look {
        self.threads.get(index).map_or(Look::Unknown, |w| w.look)
    }

    /// A number for the rest that a waiting thread has been in since it was
    /// last seen to run: as long as it is the same, the thread has not run and
    /// nothing about it has changed. `None` for one that does not wait, and
    /// where the last look did not ask.
    pub fn rest(&self, index: usize) -> Option<u64> {
        let watched = self.threads.get(index)?;
        (self.proved && watched.waits).then_some(watched.moves)
    }

    /// The threads of which it is not known that they wait.
    pub fn awake(&self) -> &[usize] {
        &self.awake
    }

    /// Those that the last look has looked at, some of them twice; all others
    /// are as they were.
    pub fn looked_at(&self) -> &[usize] {
        &self.looked_at
    }

    /// The nanoseconds on a CPU in all its life, as of the last look; see
    /// [`SchedStat::run_ns`](crate::SchedStat::run_ns).
    pub fn run_ns(&self, index: usize) -> Option<u64> {
        self.threads.get(index)?.run_ns
    }

    /// System calls and bytes so far.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Looks at all threads, unless that was done less than 100 µs ago.
    /// Whether one of them is found to have ended.
    pub fn look(&mut self, process: &Process, question: Question) -> bool {
        let now = Instant::now();
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        self.looked_at.clear();
        if since(self.looked).is_some_and(|age| age < FRESH)
            && (self.proved || question == Question::WhoRuns)
        {
            return false;
        }
        self.looked = Some(now);
        let recent = since(self.swept).is_some_and(|age| age < SWEEP);
        if recent && self.only_awake_ran(process, question) {
            self.proved = question == Question::WhatAllDo;
            return false;
        }
        self.swept = Some(now);
        self.proved = true;
        self.sweep(process, question)
    }

    /// Looks at the threads that are awake; whether that answers the question.
    fn only_awake_ran(&mut self, process: &Process, question: Question) -> bool {
        let Some(machine) = &self.running else {
            return false;
        };
        if self.threads.len() < self.awake.len() + self.few {
            return false;
        }
        self.cost.calls += 1;
        let Some(others) = machine.count().map(|count| count - 1) else {
            return false;
        };
        if others > self.awake.len() {
            return false;
        }
        let (mut running, mut awake_ns, mut now_still_ns) = (0, 0_u64, 0_u64);
        for index in &self.awake {
            let Some(watched) = self.threads.get_mut(*index) else {
                return false;
            };
            if watched.look(&mut self.cost, question) {
                self.looked_at.push(*index);
            }
            let Some(run_ns) = watched.run_ns.filter(|_| watched.look != Look::Gone) else {
                return false;
            };
            running += usize::from(watched.look == Look::At(Activity::Running));
            if watched.waits {
                now_still_ns += run_ns;
            } else {
                awake_ns += run_ns;
            }
        }
        let still_ns = self.still_ns + now_still_ns;
        if others > running {
            return false;
        }
        if question == Question::WhatAllDo {
            self.cost.calls += 1;
            let clock = process.cpu_time().ok().map(nanos);
            let beyond = clock.and_then(|clock| clock.checked_sub(awake_ns + still_ns));
            if beyond.is_none() || beyond != self.beyond_ns {
                return false;
            }
        }
        self.still_ns = still_ns;
        let threads = &self.threads;
        self.awake
            .retain(|index| threads.get(*index).is_some_and(|w| !w.waits));
        true
    }

    /// Looks at each thread that has run by its own figures, and takes stock
    /// of the whole. Whether one has ended.
    fn sweep(&mut self, process: &Process, question: Question) -> bool {
        // Nothing is proved by it for few threads, or by another question.
        let useful = question == Question::WhatAllDo && self.threads.len() >= self.few;
        self.cost.calls += u64::from(useful);
        let clock = useful.then(|| process.cpu_time().ok().map(nanos)).flatten();
        self.awake.clear();
        let (mut sum, mut still_ns, mut known, mut gone) = (0_u64, 0_u64, true, false);
        for (index, watched) in self.threads.iter_mut().enumerate() {
            if watched.look(&mut self.cost, question) {
                self.looked_at.push(index);
            }
            gone |= watched.look == Look::Gone;
            known &= watched.run_ns.is_some();
            let run_ns = watched.run_ns.unwrap_or_default();
            sum = sum.saturating_add(run_ns);
            if watched.waits {
                still_ns = still_ns.saturating_add(run_ns);
            } else {
                self.awake.push(index);
            }
        }
        self.still_ns = still_ns;
        self.beyond_ns = clock
            .filter(|_| known)
            .and_then(|clock| clock.checked_sub(sum));
        gone
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::Pid;

    /// A watch that is told that nobody on the machine runs but us, of a
    /// process that waits to be written to and then runs for a moment.
    fn quiet() -> (Watch, Process, Child) {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = Pid::new(i32::try_from(child.id()).unwrap()).unwrap();
        let process = Process::open(pid).unwrap();
        let mut watch = Watch::new();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0.00 0.00 0.00 1/1 1\n").unwrap();
        watch.running = Some(RunningThreads::from(file));
        watch.few = 0;
        watch.set_threads(&process, [pid.leader()]);
        (watch, process, child)
    }

    fn look(watch: &mut Watch, process: &Process, question: Question) -> u64 {
        watch.looked = None;
        let before = watch.cost.calls;
        watch.look(process, question);
        watch.cost.calls - before
    }

    fn settle(watch: &mut Watch, process: &Process, child: &mut Child) -> u64 {
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        // It may have lost the processor before it reads again, and the count of
        // running threads, which would tell, is not the machine's.
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") S ") {
            std::thread::yield_now();
        }
        loop {
            look(watch, process, Question::WhatAllDo);
            if let Some(rest) = watch.rest(0)
                && look(watch, process, Question::WhatAllDo) == 2
            {
                return rest;
            }
        }
    }

    /// Where nobody runs, two calls prove that a thread has not run, and one
    /// that it does not, which is no proof of the other; and if it has run for
    /// a moment, the clock of the process tells.
    #[test]
    fn the_whole_tells() {
        let (mut watch, process, mut child) = quiet();
        let mut rest = settle(&mut watch, &process, &mut child);
        for _ in 0..100 {
            assert_eq!(look(&mut watch, &process, Question::WhatAllDo), 2);
            assert_eq!(watch.rest(0), Some(rest));
            assert_eq!(look(&mut watch, &process, Question::WhoRuns), 1);
            assert_eq!(watch.rest(0), None);
            let anew = settle(&mut watch, &process, &mut child);
            assert!(anew > rest);
            rest = anew;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Who runs now and has not met a scheduler tick yet shows in no clock:
    /// one more running thread on the machine is reason to look at everyone.
    #[test]
    fn one_more_running_thread() {
        let (mut watch, process, mut child) = quiet();
        settle(&mut watch, &process, &mut child);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0.00 0.00 0.00 2/2 2\n").unwrap();
        watch.running = Some(RunningThreads::from(file));
        // The machine's running threads and the thread's figures; and the clock,
        // where it may prove something next time.
        for (question, calls) in [(Question::WhoRuns, 2), (Question::WhatAllDo, 3)] {
            assert_eq!(look(&mut watch, &process, question), calls);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
