//! Stopping threads, and leaving no trace of it.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::vforker::Vforker;
use common::{Target, assert_untraced, let_all_go, patience, pid_of, send, until};
use firefinch_memory::Memory;
use firefinch_process::{
    Errno, Process, ProcessMemory, RunState, StopFailure, Stopped, Stopper, Thread, Tid, Visit,
};
use nix::sys::signal::Signal;

fn counters(target: &Target, memory: &ProcessMemory, count: u64) -> Vec<u64> {
    let read = |i| memory.read_u64(target.counters.offset(i * 8));
    (0..count).map(|i| read(i).expect("mapped")).collect()
}

/// Stops all threads there are.
fn stop_all<'a>(stopper: &'a mut Stopper, process: &Process, deadline: Instant) -> Stopped<'a> {
    let tids = process.threads().unwrap_or_default();
    stopper.stop_threads(&tids, deadline)
}

fn outcomes(stopped: &Stopped<'_>) -> Vec<Result<(), StopFailure>> {
    stopped.outcomes().map(|(_, outcome)| outcome).collect()
}

/// While the guard lives no counter of a busy process moves, although another process gets far; afterwards all move on and nobody is traced.
#[test]
fn busy_threads_stop_and_go_on() {
    let mut target = Target::start();
    target.order("spin 3");
    let process = target.process();
    let memory = process.memory().unwrap();
    let mut clock = Target::start();
    clock.order("spin 1");
    let clock_memory = clock.process().memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    for _ in 0..5 {
        let stopped = stop_all(&mut stopper, &process, patience());
        assert_eq!(outcomes(&stopped), [Ok(()); 4]);
        assert!(stopped.is_complete());
        let before = counters(&target, &memory, 3);
        let start = counters(&clock, &clock_memory, 1)[0];
        until("the other process counts", || {
            (counters(&clock, &clock_memory, 1)[0] > start + 100_000).then_some(())
        });
        assert_eq!(counters(&target, &memory, 3), before);
        drop(stopped);
        assert_untraced(&process);
        until("all count again", || {
            let now = counters(&target, &memory, 3);
            now.iter().zip(&before).all(|(n, b)| n > b).then_some(())
        });
    }
    assert_eq!(stopper.settle(), 0);
}

/// A thread of another process, as which a number may come back, is gone for a stop
/// and for a visit, and goes on unattached.
#[test]
fn threads_of_others() {
    let target = Target::start();
    let mut other = Target::start();
    other.order("spin 1");
    let stranger = other.process();
    let memory = stranger.memory().unwrap();
    let tids = stranger.threads().unwrap();
    let mut stopper = Stopper::new(&target.process()).unwrap();
    for _ in 0..3 {
        let stopped = stopper.stop_threads(&tids, patience());
        assert_eq!(outcomes(&stopped), [Err(StopFailure::Gone); 2]);
        drop(stopped);
        for tid in &tids {
            let visit = |visit: Visit<'_>| visit.map(|_| ()).unwrap_err();
            let visited = stopper.visit(*tid, patience(), visit);
            assert_eq!(visited, Some(StopFailure::Gone));
        }
        until("all are let go", || (stopper.settle() == 0).then_some(()));
        assert_untraced(&stranger);
        let before = counters(&other, &memory, 1);
        until("the stranger counts", || {
            (counters(&other, &memory, 1) > before).then_some(())
        });
    }
}

/// Only the threads asked for are stopped, each once however often it is named, and a number that is no thread is gone.
#[test]
fn chosen_threads_only() {
    let mut target = Target::start();
    target.order("spin 2");
    let process = target.process();
    let memory = process.memory().unwrap();
    let tids = process.threads().unwrap();
    let nobody = Tid::new((1 << 22) + 1).unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let stopped = stopper.stop_threads(&[tids[1], tids[1], nobody], patience());
    assert_eq!(stopped.outcome(tids[1]), Some(Ok(())));
    assert_eq!(stopped.outcome(nobody), Some(Err(StopFailure::Gone)));
    assert_eq!(stopped.outcome(tids[2]), None);
    let before = counters(&target, &memory, 2);
    until("the other thread counts", || {
        (counters(&target, &memory, 2)[1] > before[1] + 100_000).then_some(())
    });
    assert_eq!(counters(&target, &memory, 2)[0], before[0]);
}

/// A process that SIGSTOP has stopped can be held and stays stopped after it, until SIGCONT.
#[test]
fn a_stopped_process_stays_stopped() {
    let mut target = Target::start();
    target.order("spin 2");
    let process = target.process();
    let states = || -> Vec<RunState> {
        let tids = process.threads().unwrap().into_iter();
        tids.map(|tid| Thread::open(&process, tid).unwrap().run_state().unwrap())
            .collect()
    };
    send(&process, Signal::SIGSTOP);
    until("it stops", || {
        (states() == [RunState::Stopped; 3]).then_some(())
    });
    let mut stopper = Stopper::new(&process).unwrap();
    for _ in 0..5 {
        let stopped = stop_all(&mut stopper, &process, patience());
        assert_eq!(outcomes(&stopped), [Ok(()); 3]);
        drop(stopped);
        assert_untraced(&process);
        // Letting go wakes each thread for the short way back into its stop.
        until("it stops again", || {
            (states() == [RunState::Stopped; 3]).then_some(())
        });
    }
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    assert!(
        status.contains("State:\tT (stopped)"),
        "not by us: {status}"
    );
    send(&process, Signal::SIGCONT);
    until("it runs", || {
        states().contains(&RunState::Running).then_some(())
    });
}

/// Threads that are born and end all the time are stopped or gone, and the process goes on as before.
#[test]
fn short_lived_threads() {
    let mut target = Target::start();
    target.order("spin 1");
    target.order("churn");
    target.order("churn");
    let process = target.process();
    let memory = process.memory().unwrap();
    let mut stopper = Stopper::new(&process).unwrap();
    let churned = || memory.read_u64(target.counters.offset(63 * 8)).unwrap();
    for _ in 0..300 {
        let stopped = stop_all(&mut stopper, &process, patience());
        assert!(stopped.is_complete(), "{stopped:?}");
        let known = stopped.outcomes().count();
        assert!(known >= 4);
        let now = churned();
        assert_eq!(churned(), now);
        drop(stopped);
        until("it goes on", || (churned() > now).then_some(()));
    }
    let_all_go(&mut stopper);
    assert_untraced(&process);
}

/// A signal that arrives while we stop the thread is delivered, once.
#[test]
fn signals_are_passed_on() {
    let script = "trap 'n=$((n+1)); echo $n' USR1; echo ready; while :; do :; done";
    let mut child = Command::new("/bin/sh")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let process = Process::open(pid_of(&child)).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let mut stopper = Stopper::new(&process).unwrap();
    for count in 1..=300 {
        // Alternately: already on its way when we stop, or sent while we hold.
        if count % 2 == 0 {
            send(&process, Signal::SIGUSR1);
        }
        let stopped = stop_all(&mut stopper, &process, patience());
        assert_eq!(outcomes(&stopped), [Ok(())]);
        if count % 2 == 1 {
            send(&process, Signal::SIGUSR1);
        }
        drop(stopped);
        assert_eq!(lines.next().unwrap().unwrap(), count.to_string());
    }
    assert_untraced(&process);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A target killed while it is held is gone, and its exit status is left to us, its parent.
#[test]
fn killed_while_held() {
    let mut target = Target::start();
    target.order("spin 2");
    let process = target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    let stopped = stop_all(&mut stopper, &process, patience());
    assert!(stopped.is_complete());
    send(&process, Signal::SIGKILL);
    drop(stopped);
    let_all_go(&mut stopper);
    let status = target.child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
    let stopped = stop_all(&mut stopper, &process, patience());
    assert_eq!(stopped.outcomes().count(), 0);
}

/// A target killed while it is held, whose parent is another process, is reaped by that parent.
#[test]
fn killed_under_another_parent() {
    let script = "\"$0\" <&3 & wait $!; echo status $? >&2";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("exec 3<&0; {script}"), common::TARGET]);
    let mut target = Target::run(command.stderr(Stdio::piped()));
    target.order("spin 1");
    let parent = target.pid();
    let process = firefinch_process::list()
        .unwrap()
        .into_iter()
        .filter_map(|pid| Process::open(pid).ok())
        .find(|p| p.parent() == Some(parent))
        .expect("the target runs");
    let mut stopper = Stopper::new(&process).unwrap();
    let stopped = stop_all(&mut stopper, &process, patience());
    assert!(stopped.is_complete());
    send(&process, Signal::SIGKILL);
    drop(stopped);
    let_all_go(&mut stopper);
    let stderr = target.child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines();
    let line = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|l| l.starts_with("status"));
    assert_eq!(line.as_deref(), Some("status 137"));
}

/// A thread inside vfork does not stop: the deadline ends the wait, others can be stopped, and once it comes out it is let go.
#[test]
fn threads_that_cannot_stop() {
    let vforker = Vforker::start();
    let process = vforker.target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    let tid = vforker.thread.tid();
    for _ in 0..2 {
        let stopped = stop_all(
            &mut stopper,
            &process,
            Instant::now() + Duration::from_millis(20),
        );
        assert_eq!(stopped.outcome(tid), Some(Err(StopFailure::TimedOut)));
        assert!(!stopped.is_complete());
        drop(stopped);
        let others: Vec<Tid> = process.threads().unwrap();
        let others: Vec<Tid> = others.into_iter().filter(|t| *t != tid).collect();
        let stopped = stopper.stop_threads(&others, patience());
        assert!(stopped.is_complete());
    }
    assert_eq!(stopper.settle(), 1);
    vforker.finish();
    until("it is let go", || (stopper.settle() == 0).then_some(()));
    assert_untraced(&process);
}

/// A stopper that is dropped while such a thread is attached leaves it to nobody: it goes on by itself.
#[test]
fn nothing_is_left_attached() {
    let vforker = Vforker::start();
    let process = vforker.target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    let stopped = stop_all(
        &mut stopper,
        &process,
        Instant::now() + Duration::from_millis(20),
    );
    assert_eq!(
        stopped.outcome(vforker.thread.tid()),
        Some(Err(StopFailure::TimedOut))
    );
    drop(stopped);
    drop(stopper);
    vforker.finish();
    assert_untraced(&process);
}

/// A target killed while such a thread is attached can be waited for, by the thread that dropped the stopper.
#[test]
fn killed_while_it_cannot_stop() {
    let mut vforker = Vforker::start();
    let process = vforker.target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    drop(stop_all(
        &mut stopper,
        &process,
        Instant::now() + Duration::from_millis(20),
    ));
    drop(stopper);
    vforker.target.child.kill().unwrap();
    vforker.target.child.wait().unwrap();
    assert!(!process.is_alive());
}

/// A program that replaces itself while its threads are stopped again and again becomes the new program, untraced: exec and attaching do not wait for each other for ever.
#[test]
fn exec_between_stops() {
    for _ in 0..30 {
        let mut target = Target::start();
        target.order("spin 4");
        let process = target.process();
        let memory = process.memory().unwrap();
        let mut stopper = Stopper::new(&process).unwrap();
        target.send("exec /bin/cat");
        until("exec", || {
            let stopped = stop_all(&mut stopper, &process, patience());
            assert!(stopped.is_complete(), "{stopped:?}");
            memory.image_gone().then_some(())
        });
        let_all_go(&mut stopper);
        assert_untraced(&process);
        target.send("hello");
        assert_eq!(target.line(), "hello");
    }
}

/// A thread traced by somebody else is denied, and is not disturbed.
#[test]
fn another_tracer() {
    let mut target = Target::start();
    target.order("spin 1");
    let process = target.process();
    let mut stopper = Stopper::new(&process).unwrap();
    let stopped = stop_all(&mut stopper, &process, patience());
    assert!(stopped.is_complete());
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut stopper = Stopper::new(&process).unwrap();
            outcomes(&stop_all(&mut stopper, &process, patience()))
        });
        let denied = Err(StopFailure::Denied(Errno::new(libc::EPERM)));
        assert_eq!(other.join().unwrap(), [denied; 2]);
    });
    drop(stopped);
    assert_untraced(&process);
}
