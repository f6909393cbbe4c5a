//! Processes that others have made.

#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod common;

use std::process::{Command, Stdio};

use common::until;
use common::vforker::Vforker;
use firefinch_process::{Children, Pid, Process};

fn only_child(parent: &Process) -> Process {
    let mut kin = Children::default();
    let pid = until("it has a child", || kin.of(&[parent]).unwrap().pop());
    Process::open(pid).unwrap()
}

/// Between vfork and exec a process has the memory of its parent, and is seen to have.
#[test]
fn memory_after_vfork() {
    let vforker = Vforker::start();
    let child = only_child(&vforker.target.process());
    assert!(child.borrows_memory());
    vforker.finish();
    until("it has memory of its own, or is gone", || {
        (!child.borrows_memory()).then_some(())
    });
}

/// After a fork it has its own.
#[test]
fn memory_after_fork() {
    let mut shell = Command::new("sh")
        .args(["-c", "exec 3<&0; (read x; read y) <&3 & wait"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::new(i32::try_from(shell.id()).unwrap()).unwrap();
    let child = only_child(&Process::open(pid).unwrap());
    assert!(!child.borrows_memory());
    drop(shell.stdin.take());
    shell.wait().unwrap();
    assert!(!child.borrows_memory());
}
