//! What threads do, and what they are called.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{TARGET, Target, may_act_as_root, pid_of, until};
use firefinch_process::{Activity, NsTid, OpenError, Process, RunState, Thread, Tid};

fn threads(process: &Process) -> Vec<Thread> {
    let tids = process.threads().expect("a list").into_iter();
    tids.filter_map(|tid| Thread::open(process, tid).ok())
        .collect()
}

fn named(process: &Process, name: &str) -> Thread {
    let find = || {
        let mut threads = threads(process).into_iter();
        threads.find(|t| t.comm().is_ok_and(|c| c == name))
    };
    until(name, find)
}

/// A busy thread is seen running with its run time growing, one at a pipe is seen in `read` on it, and a name with a bracket confuses neither.
#[test]
fn running_and_blocked_threads() {
    let mut target = Target::start();
    target.order("spin 1");
    target.order("wait");
    let process = target.process();
    assert_eq!(process.threads().unwrap().len(), 3);
    assert_eq!(process.thread_count(), Ok(3));
    let busy = named(&process, "spin-0");
    let waiting = named(&process, "waiter) S 1");
    assert_eq!(busy.run_state(), Ok(RunState::Running));
    let before = busy.schedstat().unwrap();
    until("the run time grows", || {
        let now = busy.schedstat().unwrap();
        (now.run_ns > before.run_ns).then_some(())
    });
    let syscall = until("the reader waits", || match waiting.run_state().unwrap() {
        RunState::Blocked {
            syscall: Some(syscall),
            uninterruptible,
        } => {
            assert!(!uninterruptible);
            Some(syscall)
        }
        RunState::Running => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(syscall.number.name(), Some("read"));
    assert_eq!(syscall.args[2], 1);
    assert_eq!(waiting.activity(), Ok(Activity::Waiting(syscall)));
    let maps = process.maps().unwrap();
    let code = maps.iter().find(|m| m.contains(syscall.pc)).unwrap();
    assert!(code.perms.exec);
    let stack = maps.iter().find(|m| m.contains(syscall.sp)).unwrap();
    assert!(stack.perms.write);
    let slices = waiting.schedstat().unwrap();
    assert_eq!(waiting.schedstat().unwrap(), slices);
}

/// The process CPU clock advances while a thread is busy, and is gone with the process.
#[test]
fn process_cpu_clock() {
    let mut target = Target::start();
    target.order("spin 1");
    let process = target.process();
    let before = process.cpu_time().unwrap();
    until("time is used", || {
        (process.cpu_time().unwrap() > before).then_some(())
    });
    target.child.kill().unwrap();
    target.child.wait().unwrap();
    assert!(process.cpu_time().unwrap_err().is_gone());
}

/// A thread that has returned is dead to a handle made before, and cannot be opened again.
#[test]
fn ended_threads_are_dead() {
    let mut target = Target::start();
    target.order("spin 2");
    let process = target.process();
    let ending = named(&process, "spin-0");
    assert!(ending.schedstat().is_ok());
    target.order("end 0");
    until("the thread ends", || {
        (ending.run_state() == Ok(RunState::Dead)).then_some(())
    });
    until("the thread is reaped", || {
        ending.schedstat().err().filter(|e| e.is_gone())
    });
    assert!(ending.activity().unwrap_err().is_gone());
    assert!(Thread::open(&process, ending.tid()).unwrap_err().is_gone());
    assert_eq!(process.threads().unwrap().len(), 2);
}

/// A process stopped by a signal is seen stopped.
#[test]
fn stopped_threads() {
    let target = Target::start();
    let process = target.process();
    let id = target.child.id();
    let stopped = Command::new("kill")
        .args(["-STOP", &id.to_string()])
        .status();
    assert!(stopped.unwrap().success());
    let leader = Thread::open(&process, process.pid().leader()).unwrap();
    until("stopped", || {
        (leader.run_state() == Ok(RunState::Stopped)).then_some(())
    });
}

/// The number of a thread is refused with the process it belongs to, a number nobody has as such.
#[test]
fn numbers_that_are_no_process() {
    let mut target = Target::start();
    target.order("spin 1");
    let process = target.process();
    let thread = named(&process, "spin-0").tid();
    let given = firefinch_process::Pid::new(thread.get()).unwrap();
    let of = process.pid();
    assert_eq!(
        Process::open(given).unwrap_err(),
        OpenError::IsThread { given, of }
    );
    // PID_MAX_LIMIT is 2^22 on 64-bit machines.
    let nobody = firefinch_process::Pid::new((1 << 22) + 1).unwrap();
    assert_eq!(
        Process::open(nobody).unwrap_err(),
        OpenError::NoSuchProcess(nobody)
    );
    // Thread 2 is the parent of all kernel threads, where it is visible.
    let two = firefinch_process::Pid::new(2).unwrap();
    if std::fs::read_to_string("/proc/2/comm").is_ok_and(|c| c == "kthreadd\n") {
        assert_eq!(
            Process::open(two).unwrap_err(),
            OpenError::KernelThread(two)
        );
    }
}

/// A process that has exited but was not waited for is a zombie, and one opened before is not alive.
#[test]
fn zombies() {
    let mut child = Command::new(TARGET)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = pid_of(&child);
    let process = Process::open(pid).unwrap();
    assert!(process.is_alive());
    child.kill().unwrap();
    assert!(process.wait_exit(std::time::Duration::from_secs(60)));
    assert!(!process.is_alive());
    assert_eq!(Process::open(pid).unwrap_err(), OpenError::Zombie(pid));
    child.wait().unwrap();
    assert_eq!(
        Process::open(pid).unwrap_err(),
        OpenError::NoSuchProcess(pid)
    );
}

/// In a PID namespace of its own the target's threads have numbers of their own, and both are found from either, also after one ended and one was born.
#[test]
fn numbers_in_another_pid_namespace() {
    if !may_act_as_root() {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", TARGET]);
    let mut target = Target::run(&mut command);
    target.order("spin 2");
    // `unshare` waits for its child, the target.
    let unshare = target.process();
    let child = firefinch_process::list()
        .unwrap()
        .into_iter()
        .filter_map(|pid| Process::open(pid).ok())
        .find(|p| p.parent() == Some(unshare.pid()))
        .expect("the target runs");
    let first = NsTid::new(1).unwrap();
    let leader = child.pid().leader();
    assert_eq!(child.ns_tid(leader).unwrap(), first);
    let mut ids = child.thread_ids().unwrap();
    assert_eq!(ids.len(), 3);
    assert_eq!(ids.tid(first), Some(leader));
    let tids: Vec<Tid> = child.threads().unwrap();
    for (index, tid) in tids.iter().enumerate() {
        let ns = NsTid::new(i32::try_from(index).unwrap() + 1).unwrap();
        assert_eq!(ids.ns_tid(*tid), Some(ns));
        assert_eq!(ids.tid(ns), Some(*tid));
    }
    target.order("end 0");
    target.order("spin 1");
    let fourth = NsTid::new(4).unwrap();
    until("the numbers are up to date", || {
        ids.refresh(&child).unwrap();
        (ids.tid(NsTid::new(2).unwrap()).is_none() && ids.tid(fourth).is_some()).then_some(())
    });
    assert_eq!(ids.len(), 3);
    assert_eq!(child.ns_tid(ids.tid(fourth).unwrap()).unwrap(), fourth);
}

/// In our own namespace both numbers are the same.
#[test]
fn numbers_in_our_pid_namespace() {
    let mut target = Target::start();
    target.order("spin 1");
    let ids = target.process().thread_ids().unwrap();
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|(tid, ns)| tid.get() == ns.get()));
}

/// What identifies a process is read: name, arguments, owner, parent, working directory, age.
#[test]
fn identity() {
    let mut command = Command::new(TARGET);
    command
        .arg0("fire) R 7\nfinch")
        .arg("two words")
        .arg("")
        .current_dir("/proc");
    let target = Target::run(&mut command);
    let process = target.process();
    let arguments = process.command_line().unwrap();
    assert_eq!(arguments, [&b"fire) R 7\nfinch"[..], b"two words", b""]);
    assert_eq!(process.comm().unwrap(), "firefinch-proce");
    assert_eq!(process.exe().unwrap().path.to_str(), Some(TARGET));
    assert_eq!(process.cwd().unwrap().to_str(), Some("/proc"));
    let own = u32::try_from(process.parent().unwrap().get()).unwrap();
    assert_eq!(own, std::process::id());
    let own = Process::open(process.parent().unwrap()).unwrap();
    assert_eq!(process.owner(), own.owner());
    assert!(process.start_time() >= own.start_time());
    assert!(process.age() <= own.age());
}
