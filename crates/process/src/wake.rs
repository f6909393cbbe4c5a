use crate::sys;

/// Has the calling thread run when it should.
///
/// Its sleeps end when they are over: the kernel may otherwise prolong each by 50 µs,
/// to end it together with others (`timer_slack_ns`, init/init_task.c).
///
/// And when it wakes up and all processors are busy, it is let in before those whose
/// turns are longer: of its share of the processor it asks for short turns, which it
/// then has soon (from Linux 6.12 on; `check_preempt_wakeup_fair`, PREEMPT_SHORT,
/// kernel/sched/fair.c). That takes no right and gives it no more of the processor than
/// others have.
///
/// Threads that it starts afterwards inherit both.
pub fn wake_promptly() {
    // Neither fails for a thread of ours; should one, it is as late as others.
    let _ = nix::sys::prctl::set_timerslack(1);
    let _ = sys::take_short_turns(TURN_NS);
}

/// The shortest turn that can be asked for; others have some 3 ms
/// (`__setparam_fair`, kernel/sched/syscalls.c).
const TURN_NS: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread has short turns afterwards where the kernel knows of such, and is as nice
    /// as before.
    #[test]
    fn short_turns() {
        let release = nix::sys::utsname::uname().unwrap();
        let release = release.release().to_str().unwrap().to_owned();
        let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>());
        let release = [(); 2].map(|()| numbers.next().unwrap().unwrap());
        let thread = std::thread::spawn(move || {
            let before = sys::turns().unwrap();
            wake_promptly();
            (before, sys::turns().unwrap())
        });
        let (before, after) = thread.join().unwrap();
        assert_eq!(before.sched_nice, after.sched_nice);
        assert_eq!(before.sched_policy, after.sched_policy);
        if release >= [6, 12] {
            assert_ne!(before.sched_runtime, TURN_NS);
            assert_eq!(after.sched_runtime, TURN_NS);
        }
    }
}
