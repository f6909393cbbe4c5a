//! The kernel's part of the stacks of threads that wait.

use std::fs;
use std::process::Command;

use crate::native::compile;
use crate::support::{
    Collapsed, Dump, Interpreter, Nobody, Place, Running, Target, command, firefinch,
    is_left_out_without_root,
};

/// A thread that waits in a read of a pipe has the kernel's functions for that
/// above its own, in each command, if they are asked for, and one that runs has none.
#[test]
fn above_threads_that_wait() {
    if is_left_out_without_root("kernel") {
        return;
    }
    let place = Place::below(&Interpreter::all()[0]);
    let program = place.outside().join("program");
    compile("spin.c", &[], &program);
    let target = Target::run(Command::new(&program), place).settled();
    target.thread_reads(target.truth["waiter"].as_u64().unwrap());
    let pid = target.pid_arg();
    let kernel = |name: &str| name.contains("pipe_read");
    for (options, wanted) in [(&[][..], false), (&["--kernel"], true)] {
        let run = firefinch([&["dump"], options, &[&pid]].concat()).succeeded();
        let dump = Dump::parse(&run.stdout);
        let waiter = &dump.thread("waiter (1)").merged;
        let at = waiter.iter().position(|frame| kernel(&frame.name));
        assert_eq!(at.is_some(), wanted, "{run:#?}");
        let own = waiter.iter().position(|frame| frame.name == "wait_here");
        assert!(own > at, "{run:#?}");
        let spinner = &dump.thread("spinner").merged;
        let of_kernel = |frame: &str| frame == "[kernel]";
        let places = spinner.iter().filter_map(|frame| frame.place.as_deref());
        assert_eq!(places.filter(|place| of_kernel(place)).count(), 0);
    }
    let kept = tempfile::tempdir().unwrap();
    for (name, mark) in [("out.txt", "pipe_read"), ("out.svg", "kernel")] {
        let file = kept.path().join(name);
        let out = file.to_str().unwrap();
        let args = ["record", "--kernel", "-i", "-d", "0.5", "-o", out, &pid];
        firefinch(args).succeeded();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(mark), "{name}");
        if name == "out.txt" {
            let collapsed = Collapsed::parse(&text);
            let newest = |frames: &[String]| frames.iter().any(|frame| kernel(frame));
            assert!(collapsed.count(newest) > 0);
        }
    }
    let top = Running::start(&mut command(["top", "--kernel", "-i", &pid]));
    top.sampled();
    top.signal(nix::sys::signal::Signal::SIGINT);
    let run = top.end().succeeded();
    assert!(run.stdout.lines().any(kernel), "{run:#?}");
}

/// Where the kernel's frames are not to be had, one line says so, and the rest is there.
#[test]
fn without_rights() {
    if is_left_out_without_root("kernel-without-rights") {
        return;
    }
    let nobody = Nobody::new();
    let mut target = Command::new("setpriv");
    target.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let mut target = target.args(["sleep", "60"]).spawn().unwrap();
    crate::support::eventually("it sleeps", || {
        let comm = fs::read_to_string(format!("/proc/{}/comm", target.id())).unwrap();
        (comm.trim() == "sleep").then_some(())
    });
    let mut dump = command(["dump", "--kernel"]);
    dump.arg(target.id().to_string());
    let run = Running::start(&mut nobody.command(&dump)).end();
    target.kill().unwrap();
    target.wait().unwrap();
    let run = run.succeeded();
    let said = run
        .stderr
        .lines()
        .filter(|line| line.contains("CAP_SYS_ADMIN"));
    assert_eq!(said.count(), 1, "{run:#?}");
    assert!(run.stdout.contains("nanosleep"), "{run:#?}");
}
