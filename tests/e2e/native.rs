//! Native stacks: of programs that are not Python, and among Python frames.

use std::fs;
use std::process::Command;

use crate::support::{
    Collapsed, Dump, Interpreter, Place, Target, Thread, firefinch, for_every, full_dump, programs,
};

/// A program of `tests/targets` in C, compiled with symbols but without line
/// numbers, as most programs are that one meets.
fn compiled(program: &str) -> Target {
    let place = Place::below(&Interpreter::all()[0]);
    let output = place.outside().join("program");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-pthread", "-o"]);
    let compiled = compiler.arg(&output).arg(programs().join(program)).status();
    assert!(compiled.unwrap().success());
    Target::run(Command::new(&output), place)
}

/// The functions of a thread, newest first.
fn functions(thread: &Thread) -> Vec<&str> {
    thread.merged.iter().map(|frame| &*frame.name).collect()
}

/// What is said of three stacks that were had whole.
const WHOLE: &str = "3 native stacks: 100 % rooted, 100 % of frames named\n";

/// The threads of a C program are shown by the names, numbers and states that
/// the system knows, each where it stands, without any being asked for.
#[test]
fn dump_of_a_c_program() {
    let target = compiled("spin.c").settled();
    target.thread_reads(target.truth["waiter"].as_u64().unwrap());
    for options in [&[][..], &["-n"], &["--native=all"], &["--blocking"]] {
        let mut args = vec!["dump"];
        args.extend(options);
        let pid = target.pid_arg();
        args.push(&pid);
        let run = firefinch(args).succeeded();
        assert_eq!(run.stderr, WHOLE, "{options:?}");
        let dump = Dump::parse(&run.stdout);
        assert_eq!(dump.python, None);
        assert_eq!(dump.threads.len(), 3, "{dump:#?}");
        let main = &dump.threads[0];
        assert_eq!(main.id, Some(target.pid().cast_unsigned().into()));
        assert_eq!((&*main.name, &*main.state), ("program", "waiting in read"));
        let below = ["wait_here", "main"];
        assert!(has_run(&functions(main), &below), "{options:?} {main:#?}");
        let spinner = dump.thread("spinner");
        assert_eq!(spinner.id, target.truth["spinner"].as_u64());
        assert_eq!(spinner.state, "running");
        assert!(
            has_run(&functions(spinner), &["work", "spin"]),
            "{spinner:#?}"
        );
        let waiter = dump.thread("waiter (1)");
        assert_eq!(waiter.state, "waiting in read");
        assert!(has_run(&functions(waiter), &["wait_here", "wait_there"]));
        // How threads start is only shown if it is asked for.
        let starts = functions(waiter).contains(&"start_thread");
        assert_eq!(starts, options == ["--native=all"], "{waiter:#?}");
    }
}

fn has_run(functions: &[&str], wanted: &[&str]) -> bool {
    functions.windows(wanted.len()).any(|run| run == wanted)
}

/// A recording of a C program has the thread that runs at its functions all the
/// time, and those that wait only if they are asked for.
#[test]
fn recording_of_a_c_program() {
    let target = compiled("spin.c").settled();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    for options in [&[][..], &["-i"], &["--mode", "cpu"], &["--blocking"]] {
        let mut args = vec!["record", "-t", "-r", "200", "-d", "1", "-o"];
        let pid = target.pid_arg();
        args.push(file.to_str().unwrap());
        args.extend(options);
        args.push(&pid);
        let run = firefinch(args).succeeded();
        // On a machine with too much to do a thread may not get to where it stops.
        let lost = run.stderr.split(" lost (").nth(1).unwrap_or_default();
        assert!(
            lost.is_empty() || lost.contains("not stopped);"),
            "{run:#?}"
        );
        let collapsed = Collapsed::parse(&fs::read_to_string(&file).unwrap());
        let of = |thread: &str, function: &str| {
            let function = format!("{function} (program)");
            collapsed.count(|frames| frames[0].contains(thread) && frames.contains(&function))
        };
        let (spins, all) = (of("\"spinner\"", "work"), of("\"spinner\"", "spin"));
        assert!(spins > 0 && spins == all, "{options:?} {collapsed:#?}");
        let waits = of("\"waiter (1)\"", "wait_here");
        assert_eq!(waits > 0, options == ["-i"], "{options:?} {collapsed:#?}");
    }
}

/// Programs whose threads stand still, each in another way.
const STANDING: [&str; 6] = [
    "generators.py",
    "multiline.py",
    "names.py",
    "recursion.py",
    "signals.py",
    "threads.py",
];

/// With native frames among them the Python frames of a thread that stands
/// still are those that it has without, on every version, however deep.
#[test]
fn python_frames_are_the_same() {
    for_every("native-python-frames", |python| {
        for program in STANDING {
            let target = Target::start(python, program).settled();
            let alone = full_dump(&target);
            for native in ["--native", "--native=all"] {
                let pid = target.pid_arg();
                let run = firefinch(["dump", "--full-filenames", native, &pid]).succeeded();
                let merged = Dump::parse(&run.stdout);
                for thread in &alone.threads {
                    if thread.state.starts_with("running") {
                        continue;
                    }
                    let both = merged.thread(&thread.name);
                    assert_eq!(both.id, thread.id, "{program}");
                    both.assert_stack(&thread.frames);
                    let native = both.merged.len() - both.frames.len();
                    assert!(native > 0, "{program}: {both:#?}");
                }
            }
        }
    });
}
