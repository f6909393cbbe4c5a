//! Threads that wait are read without a stop, on real interpreters.
#![cfg(target_arch = "x86_64")]

use std::sync::Arc;

use firefinch_native::Status;
use firefinch_process::{Activity, Pid, Process, Thread};
use firefinch_sampler::native::{Native, NativeStack};

use crate::support::{Target, eventually, for_every, stopped};

/// Whatever a thread waits in, in builds with frame pointers too, its stack is found to the root without stopping it, and is the one that all of its registers give while it is stopped.
#[test]
fn as_if_stopped() {
    for_every("threads that wait", |python| {
        let target = Target::start(python, "waits.py").settled();
        let pid = Pid::new(target.pid()).unwrap();
        let process = Arc::new(Process::open(pid).unwrap());
        let memory = Arc::new(process.memory().unwrap());
        let mut native = Native::new(&process, &memory, &Arc::default()).unwrap();
        let ids = process.thread_ids().unwrap();
        let known = target.truth["threads"].as_object().unwrap();
        assert_eq!(known.len(), 11);
        for (own, calls) in known {
            let own: i32 = own.parse().unwrap();
            let tid = ids.iter().find(|(_, id)| id.get() == own).unwrap().0;
            let thread = Thread::open(&process, tid).unwrap();
            let calls: Vec<&str> = calls
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c.as_str().unwrap())
                .collect();
            eventually("the thread waits", || {
                waits_in(&thread, &calls).then_some(())
            });
            let captured = native.capture_blocked(&thread, || ());
            let (capture, ()) = captured.expect("it stands still");
            let stack = native.stack(capture).unwrap();
            assert_eq!(stack.outcome.status, Status::Rooted, "{calls:?} {stack:#?}");
            let mut capture = native.capture(tid);
            stopped(tid, |registers| capture.fill_stopped(registers, &*memory)).unwrap();
            let whole = native.stack(capture).unwrap();
            assert!(whole.outcome.is_certain(), "{calls:?} {:?}", whole.outcome);
            assert_eq!(places(&stack), places(&whole), "{calls:?}");
        }
    });
}

fn waits_in(thread: &Thread, calls: &[&str]) -> bool {
    match thread.activity() {
        Ok(Activity::Waiting(call)) => call.number.name().is_some_and(|name| calls.contains(&name)),
        _ => false,
    }
}

/// Where each frame stands, and its stack pointer.
fn places(stack: &NativeStack) -> Vec<(u64, u64)> {
    let frames = stack.frames.iter();
    frames
        .map(|f| (f.address.addr().get(), f.sp.get()))
        .collect()
}
