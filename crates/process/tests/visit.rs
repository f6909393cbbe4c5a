//! Visits to threads that stand still meanwhile.

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use common::vforker::Vforker;
use common::visits::{spinning, try_visit, visit_running};
use common::{Target, assert_untraced, let_all_go, may_act_as_root, patience, send, until};
use firefinch_memory::Memory;
use firefinch_process::{
    Errno, Process, ProcessMemory, RunState, StopFailure, Stopper, Thread, Tid,
};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd;

/// What the target counts when a call was interrupted, and when a signal came.
const RETURNS: u64 = 61;
const SIGNALS: u64 = 62;

fn counter(target: &Target, memory: &ProcessMemory, index: u64) -> u64 {
    let at = target.counters.offset(index * 8);
    memory.read_u64(at).expect("mapped")
}

fn until_it_counts(target: &Target, memory: &ProcessMemory, index: u64) {
    let before = counter(target, memory, index);
    until("it counts", || {
        (counter(target, memory, index) > before).then_some(())
    });
}

/// While it is visited a busy thread does not count although another one of the process gets far, and afterwards it goes on, untraced.
#[test]
fn the_visited_thread_alone_stands_still() {
    let (target, process, tids) = spinning(2);
    let memory = Arc::new(process.memory().unwrap());
    let mut stopper = Stopper::new(&process).unwrap();
    let target = Arc::new(target);
    for round in 0..10 {
        let (still, moving) = (round % 2, 1 - round % 2);
        let tid = tids[usize::try_from(still).unwrap()];
        let (its_memory, its_target) = (Arc::clone(&memory), Arc::clone(&target));
        let seen = stopper.visit(tid, patience(), move |visit| {
            let thread = visit.expect("it can be stopped");
            assert_eq!(thread.tid(), tid);
            let count = |index| counter(&its_target, &its_memory, index);
            let (before, start) = (count(still), count(moving));
            until("the other thread counts", || {
                (count(moving) > start + 100_000).then_some(())
            });
            (before, count(still))
        });
        let (before, after) = seen.expect("the tracer lives");
        assert_eq!(before, after);
        assert_untraced(&process);
        until_it_counts(&target, &memory, still);
    }
    assert_eq!(stopper.settle(), 0);
}

/// The registers of a thread that stays at one instruction are those that gdb prints, and those that the program has set.
#[cfg(target_arch = "x86_64")]
#[test]
fn registers_are_those_that_gdb_prints() {
    // The order of `struct user_regs_struct` (arch/x86/include/asm/user_64.h).
    const NAMES: [&str; 27] = [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx",
        "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds",
        "es", "fs", "gs",
    ];
    let mut target = Target::start();
    let before = target.process().threads().unwrap();
    target.order("poise");
    let process = target.process();
    let mut new = process.threads().unwrap().into_iter();
    let tid = new.find(|tid| !before.contains(tid)).unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let seen = stopper.visit(tid, patience(), |visit| visit.map(|t| t.registers()));
    let bytes = seen.expect("the tracer lives").expect("it can be stopped");
    let (words, []) = bytes.as_ref().expect("64-bit").as_chunks() else {
        panic!("not made of words");
    };
    let ours: Vec<u64> = words.iter().copied().map(u64::from_ne_bytes).collect();
    assert_eq!(ours.len(), NAMES.len());
    let set = [0x1f0f, 0x1e0e, 0x1d0d, 0x1c0c];
    assert_eq!(ours[..4], set);
    assert_eq!(ours[6..10], [0x1b0b, 0x1a0a, 0x1909, 0x1808]);
    assert_eq!(ours[14], target.counters.offset(60 * 8).get());

    let mut gdb = std::process::Command::new("gdb");
    gdb.args([
        "-nx",
        "-batch",
        "-iex",
        "set auto-load off",
        "-p",
        &tid.to_string(),
    ]);
    for name in NAMES {
        gdb.args(["-ex", &format!("printf \"{name} %lx\\n\", ${name}")]);
    }
    let Ok(output) = gdb.output() else {
        let required = std::env::var_os("CI").is_some_and(|v| v == "true");
        assert!(!required, "this test needs gdb");
        eprintln!("not compared: there is no gdb");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let of = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, value) = lines.find(|(first, _)| *first == name)?;
        u64::from_str_radix(value, 16).ok()
    };
    for (name, ours) in NAMES.iter().zip(ours) {
        assert_eq!(of(name), Some(ours), "{name}: {text}");
    }
}

/// Work that panics panics where it was asked for; its thread goes on, untraced, and others can be visited.
#[test]
fn a_panic_leaves_nothing_behind() {
    let (target, process, tids) = spinning(1);
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    for _ in 0..3 {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            stopper.visit(tids[0], patience(), |_| std::panic::panic_any(7_u8))
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&7_u8));
        assert_untraced(&process);
        until_it_counts(&target, &memory, 0);
        assert_eq!(visit_running(&mut stopper, tids[0]), Ok(()));
    }
}

/// A thread that waits is never interrupted: calls that an interruption would end with EINTR go on, which they do not when their threads are stopped by force.
#[test]
fn waits_are_not_interrupted() {
    let mut target = Target::start();
    target.order("block");
    let process = target.process();
    let memory = process.memory().unwrap();
    let mut tids = process.threads().unwrap();
    assert!(tids.len() == 5 || !may_act_as_root());
    let waits = |tid: &Tid| {
        let state = Thread::open(&process, *tid).and_then(|thread| thread.run_state());
        matches!(state, Ok(RunState::Blocked { .. }))
    };
    until("all wait", || tids.iter().all(waits).then_some(()));
    let mut stopper = Stopper::new(&process).unwrap();
    for _ in 0..2000 {
        for tid in &tids {
            assert_eq!(try_visit(&mut stopper, *tid), Err(StopFailure::Waits));
        }
    }
    assert_eq!(counter(&target, &memory, RETURNS), 0);

    tids.retain(|tid| *tid != process.pid().leader());
    assert!(stopper.stop_threads(&tids, patience()).is_complete());
    until("they are interrupted", || {
        let returns = counter(&target, &memory, RETURNS);
        (returns == tids.len() as u64).then_some(())
    });
}

/// A number that is no thread is gone, and so is a first thread that has ended before the others.
#[test]
fn who_is_gone() {
    let (mut target, process, tids) = spinning(1);
    let mut stopper = Stopper::new(&process).unwrap();
    let nobody = Tid::new((1 << 22) + 1).unwrap();
    assert_eq!(try_visit(&mut stopper, nobody), Err(StopFailure::Gone));
    let leader = process.pid().leader();
    until("it waits", || {
        (try_visit(&mut stopper, leader) == Err(StopFailure::Waits)).then_some(())
    });
    let first = Thread::open(&process, leader).unwrap();
    target.send("leave");
    until("it ends", || {
        (first.run_state() == Ok(RunState::Dead)).then_some(())
    });
    assert_eq!(try_visit(&mut stopper, leader), Err(StopFailure::Gone));
    assert_eq!(visit_running(&mut stopper, tids[0]), Ok(()));
    assert_untraced(&process);
}

/// A running thread with another tracer is denied; once that one has let go it can be visited.
#[test]
fn another_tracer() {
    let (target, process, tids) = spinning(1);
    let memory = process.memory().unwrap();
    let tid = unistd::Pid::from_raw(tids[0].get());
    let mut stopper = Stopper::new(&process).unwrap();
    ptrace::seize(tid, ptrace::Options::empty()).unwrap();
    let denied = StopFailure::Denied(Errno::new(libc::EPERM));
    for _ in 0..10 {
        assert_eq!(visit_running(&mut stopper, tids[0]), Err(denied));
        until_it_counts(&target, &memory, 0);
    }
    ptrace::interrupt(tid).unwrap();
    until("it stands still", || ptrace::detach(tid, None).ok());
    assert_eq!(visit_running(&mut stopper, tids[0]), Ok(()));
}

/// A thread that does not stop in time is let go later; it goes on meanwhile, and so do others.
#[test]
fn no_time_to_stop() {
    let (target, process, tids) = spinning(2);
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let mut late = 0;
    until("one is late", || {
        for tid in &tids {
            let seen = stopper.visit(*tid, Instant::now(), |visit| visit.map(|_| ()));
            match seen.expect("the tracer lives") {
                Ok(()) | Err(StopFailure::Waits) => {}
                Err(StopFailure::TimedOut) => late += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        (late >= 100).then_some(())
    });
    let_all_go(&mut stopper);
    assert_untraced(&process);
    for index in 0..2 {
        until_it_counts(&target, &memory, index);
    }
}

/// A thread inside vfork counts as waiting, and is never attached to.
#[test]
fn inside_vfork() {
    let vforker = Vforker::start();
    let process = vforker.target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    let tid = vforker.thread.tid();
    assert_eq!(try_visit(&mut stopper, tid), Err(StopFailure::Waits));
    assert_untraced(&process);
    assert_eq!(stopper.settle(), 0);
    vforker.finish();
}

/// A process stopped by SIGSTOP counts as waiting and stays stopped, until SIGCONT; if SIGSTOP comes while one of its threads is visited, that stops with the others.
#[test]
fn stopped_by_a_signal() {
    let (_target, process, tids) = spinning(2);
    let states = || -> Vec<RunState> {
        let threads = tids.iter().map(|tid| Thread::open(&process, *tid).unwrap());
        threads.map(|thread| thread.run_state().unwrap()).collect()
    };
    let mut stopper = Stopper::new(&process).unwrap();
    for _ in 0..10 {
        let pid = process.pid();
        let seen = stopper.visit(tids[0], patience(), move |visit| {
            let process = Process::open(pid).unwrap();
            send(&process, Signal::SIGSTOP);
            visit.map(|_| ())
        });
        assert_eq!(seen, Some(Ok(())));
        until("both stop", || {
            (states() == [RunState::Stopped; 2]).then_some(())
        });
        for tid in &tids {
            assert_eq!(try_visit(&mut stopper, *tid), Err(StopFailure::Waits));
        }
        assert_eq!(states(), [RunState::Stopped; 2]);
        assert_untraced(&process);
        send(&process, Signal::SIGCONT);
        until("both run", || {
            (states() == [RunState::Running; 2]).then_some(())
        });
    }
}

/// Not one of ten thousand queued signals is lost or comes twice while their thread is visited all the time.
#[test]
fn signals_are_passed_on() {
    const COUNT: u64 = 10_000;
    let (mut target, process, tids) = spinning(1);
    target.order("catch");
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let came = || counter(&target, &memory, SIGNALS);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for sent in 0..COUNT {
                // Some at a time, so that they come during all of the visits.
                until("they come", || (came() + 4 > sent).then_some(()));
                // SAFETY: takes two integers.
                let result = unsafe { libc::kill(process.pid().get(), libc::SIGRTMIN()) };
                assert_eq!(result, 0);
            }
        });
        until("all are sent", || {
            assert_eq!(visit_running(&mut stopper, tids[0]), Ok(()));
            sender.is_finished().then_some(())
        });
    });
    until("all have come", || (came() >= COUNT).then_some(()));
    assert_eq!(visit_running(&mut stopper, tids[0]), Ok(()));
    assert_eq!(came(), COUNT);
}

/// A target killed in the middle of a visit has no registers and no memory any more; its exit status is left to us, its parent.
#[test]
fn killed_during_a_visit() {
    let (mut target, process, tids) = spinning(2);
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let (pid, at) = (process.pid(), target.counters);
    let seen = stopper.visit(tids[0], patience(), move |visit| {
        let thread = visit.expect("it can be stopped");
        send(&Process::open(pid).unwrap(), Signal::SIGKILL);
        let registers = until("it has none", || thread.registers().err());
        let read = until("it cannot be read", || memory.read_u64(at).err());
        (registers, read.kind)
    });
    let (registers, _) = seen.expect("the tracer lives");
    assert_eq!(registers, Errno::new(libc::ESRCH));
    let_all_go(&mut stopper);
    let status = target.child.wait().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    assert_eq!(try_visit(&mut stopper, tids[0]), Err(StopFailure::Gone));
}

/// Threads that are born and end all the time are visited, wait or are gone, and the process goes on as before.
#[test]
fn short_lived_threads() {
    let mut target = Target::start();
    target.order("churn");
    target.order("churn");
    let process = target.process();
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let mut stops = 0;
    for _ in 0..300 {
        for tid in process.threads().unwrap() {
            match try_visit(&mut stopper, tid) {
                Ok(()) => stops += 1,
                Err(StopFailure::Gone | StopFailure::Waits) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        until_it_counts(&target, &memory, 63);
    }
    assert!(stops > 0);
    let_all_go(&mut stopper);
    assert_untraced(&process);
}

/// A program that replaces itself while its threads are visited again and again becomes the new program, untraced: exec and attaching do not wait for each other for ever.
#[test]
fn exec_between_visits() {
    for _ in 0..30 {
        let (mut target, process, tids) = spinning(4);
        let memory = process.memory().unwrap();
        let mut stopper = Stopper::new(&process).unwrap();
        target.send("exec /bin/cat");
        until("exec", || {
            for tid in &tids {
                match try_visit(&mut stopper, *tid) {
                    Ok(()) | Err(StopFailure::Gone | StopFailure::Waits) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            memory.image_gone().then_some(())
        });
        let_all_go(&mut stopper);
        assert_untraced(&process);
        target.send("hello");
        assert_eq!(target.line(), "hello");
    }
}

/// A target that is killed while its threads are visited again and again can be waited for.
#[test]
fn killed_between_visits() {
    for _ in 0..30 {
        let (mut target, process, tids) = spinning(4);
        let mut stopper = Stopper::new(&process).unwrap();
        for tid in &tids {
            assert_eq!(visit_running(&mut stopper, *tid), Ok(()));
        }
        send(&process, Signal::SIGKILL);
        until("all are gone", || {
            let mut gone = |tid| try_visit(&mut stopper, tid) == Err(StopFailure::Gone);
            tids.iter().all(|tid| gone(*tid)).then_some(())
        });
        let_all_go(&mut stopper);
        let status = target.child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        let path = format!("/proc/{}", process.pid());
        assert!(fs::metadata(path).is_err(), "reaped");
    }
}
