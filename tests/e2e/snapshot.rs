//! Snapshots of processes, decoded without them.

use firefinch_cpython::Motion;
use firefinch_snapshot::Capture;

use crate::support::{Target, TrueFrame, firefinch, for_every, true_stack};

/// A snapshot written of a process decodes to its true stack once that is
/// gone, read either as of stopped or as of running threads.
#[test]
fn decodes_without_the_process() {
    for_every("snapshot", |python| {
        let mut target = Target::start(python, "generators.py").settled();
        let file = target.place().outside().join("one.snapshot");
        let path = file.to_str().unwrap();
        let run = firefinch(["snapshot", &target.pid_arg(), "-o", path]).succeeded();
        assert_eq!((&*run.stdout, &*run.stderr), ("", ""));
        target.kill();

        let capture = Capture::from_file(&std::fs::read(&file).unwrap()).unwrap();
        for motion in [Motion::Stopped, Motion::Running] {
            let seen = capture.observe(motion, 1).unwrap();
            assert_eq!(seen.version, python.version);
            assert_eq!(seen.build.contains("free-threaded"), python.free_threaded);
            let [thread] = &seen.threads[..] else {
                panic!("one thread in {seen:?}");
            };
            let frames = thread.looks[0].as_ref().unwrap().iter();
            let frames = frames.map(|frame| TrueFrame {
                name: frame.function.clone(),
                file: frame.file.clone(),
                line: frame.line.unwrap().into(),
            });
            assert!(frames.eq(true_stack(&target.truth["stack"])), "{seen:?}");
        }
    });
}
