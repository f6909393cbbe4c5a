//! Native stacks: of programs that are not Python, and among Python frames.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::record::{assert_callers, assert_few_lost, summed_up};
use crate::support::{
    Collapsed, Dump, Interpreter, Place, Target, Thread, firefinch, for_every, for_every_that,
    full_dump, is_one_of_few, programs, true_stack,
};

/// Compiles a file of `tests/targets` with symbols but without line numbers, as
/// most programs are that one meets.
pub(crate) fn compile(source: &str, options: &[&str], output: &Path) {
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-Wno-unused-result", "-pthread"]);
    compiler.args(options).arg("-o").arg(output);
    let compiled = compiler.arg(programs().join(source)).status();
    assert!(compiled.unwrap().success(), "{source}");
}

/// A program of `tests/targets` in C.
pub(crate) fn compiled(source: &str) -> Target {
    let place = Place::below(&Interpreter::all()[0]);
    let output = place.outside().join("program");
    compile(source, &[], &output);
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
        assert_few_lost(collapsed.total(), &run, 0.2);
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

/// What lies between Python frames, and how many times.
const BETWEEN: [(&str, &str); 5] = [
    ("sort", "30"),
    ("json", "5"),
    ("re", "60"),
    ("reduce", "60"),
    ("ctypes", "10"),
];

/// Debian's own interpreters have no names for functions that are not exported;
/// where others of its packages are used, so are their debug symbols.
fn has_symbols(python: &Interpreter) -> bool {
    !["3.13-static", "3.14-loader", "3.11-static"].contains(&&*python.name)
}

/// Functions of C that were called from Python and call Python are shown above
/// the line that called them, sixty times one above the other if need be.
#[test]
fn callbacks() {
    for_every("native-callbacks", |python| {
        for between in BETWEEN {
            let target = Target::start_with(python, "callbacks.py", &[between.0, between.1]);
            let target = target.settled();
            let stack = true_stack(&target.truth["stack"]);
            let through = &target.truth["through"].as_array().unwrap();
            for native in ["--native", "--native=all"] {
                let pid = target.pid_arg();
                let run = firefinch(["dump", "--full-filenames", native, &pid]).succeeded();
                assert!(run.stderr.contains("100 % merged whole"), "{run:#?}");
                let dump = Dump::parse(&run.stdout);
                let thread = dump.only();
                thread.assert_stack(&stack);
                if native == "--native" && !has_symbols(python) {
                    continue;
                }
                for callers in native_callers(thread, "called") {
                    let known = |name: &&str| through.iter().any(|one| one == name);
                    let shown = callers.iter().any(known);
                    let is_there = !has_symbols(python) && !callers.is_empty();
                    assert!(shown || is_there, "{between:?} {native} {thread:#?}");
                }
            }
        }
    });
}

/// For each frame of a Python function the native ones that called it.
fn native_callers<'a>(thread: &'a Thread, function: &str) -> Vec<Vec<&'a str>> {
    let at = |at: &usize| {
        let frame = &thread.merged[*at];
        frame.name == function && frame.python().is_some()
    };
    let callers = |at: usize| {
        let below = thread.merged[at + 1..].iter();
        let native = below.take_while(|frame| frame.python().is_none());
        native.map(|frame| &*frame.name).collect()
    };
    (0..thread.merged.len()).filter(at).map(callers).collect()
}

/// A thread that a library has started for itself is there by its name, and has
/// its share beside the threads of Python.
#[test]
fn threads_of_a_library() {
    let can = |python: &Interpreter| !python.is_elsewhere() && has_symbols(python);
    for_every_that("native-threads", can, |python| {
        let place = Place::below(python);
        let library = place.outside().join("native_threads.so");
        compile("native_threads.c", &["-shared", "-fPIC"], &library);
        let library = library.to_str().unwrap();
        let target = Target::start_with(python, "native_threads.py", &[library]).settled();
        let dump = firefinch(["dump", "-n", &target.pid_arg()]).succeeded();
        let dump = Dump::parse(&dump.stdout);
        assert!(
            functions(dump.thread("grinder")).contains(&"grind"),
            "{dump:#?}"
        );
        let lingers = dump.thread("lingerer");
        assert!(functions(lingers).contains(&"linger"), "{dump:#?}");
        assert_eq!(lingers.state, "waiting in pause");
        // Not what Python frames are there for.
        assert_eq!(full_dump(&target).threads.len(), 2);
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("out.txt");
        let (file, pid) = (file.to_str().unwrap(), target.pid_arg());
        // As many of each as there would be on processors of their own.
        let args = [
            "record", "-ntr", "200", "-d", "1.5", "--mode", "wall", "-o", file, &pid,
        ];
        let run = firefinch(args).succeeded();
        let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
        let of = |name: &str| collapsed.count(|frames| frames[0].contains(name));
        let (grinds, busy) = (of("\"grinder\""), of("\"busy\""));
        assert!(grinds > 0 && busy > 0, "{run:#?} {collapsed:#?}");
        // A sample is lost if a thread gets no processor to stop on.
        assert_few_lost(collapsed.total(), &run, 0.2);
        let lost = summed_up(&run, "lost");
        let differ = grinds.abs_diff(busy);
        assert!(differ <= busy / 10 + lost, "{grinds} and {busy}: {run:#?}");
        assert_eq!(of("\"lingerer\""), 0, "{collapsed:#?}");
    });
}

/// With -g only the thread that holds the lock is there, with its native frames;
/// with --mode cpu and -i every thread has its true Python frames.
#[test]
fn together_with_other_options() {
    let can = |python: &Interpreter| is_one_of_few(python) && !python.free_threaded;
    for_every_that("native-options", can, |python| {
        let target = Target::start(python, "threads.py").settled();
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("out.txt");
        let (file, pid) = (file.to_str().unwrap(), target.pid_arg());
        for options in [
            &["-g"][..],
            &["--mode", "cpu"],
            &["-i"],
            &["-F"],
            &["--blocking"],
        ] {
            let mut args = vec!["record", "-nt", "-r", "200", "-d", "0.5", "-o", file];
            args.extend(options);
            args.push(&pid);
            let run = firefinch(args).succeeded();
            let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
            let of = |name: &str| {
                let root = format!("\"{name}\"");
                collapsed.count(|frames| frames[0].ends_with(&root))
            };
            assert!(of("busy-worker") > 0, "{options:?}: {run:#?}");
            for name in target.truth["threads"].as_object().unwrap().keys() {
                let is_there = name == "busy-worker" || options == ["-i"];
                assert_eq!(of(name) > 0, is_there, "{options:?} {name}: {run:#?}");
            }
            for (frames, _) in &collapsed.stacks {
                assert!(frames.iter().any(|frame| is_python(frame)), "{frames:?}");
            }
        }
    });
}

/// A thread that waits is never interrupted: system calls that would end with
/// EINTR do not, however often their native stacks are looked at.
#[test]
fn no_wait_is_interrupted() {
    let mut target = compiled("interrupted.c").settled();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    let (file, pid) = (file.to_str().unwrap(), target.pid_arg());
    let run = firefinch(["record", "-ni", "-r", "500", "-d", "10", "-o", file, &pid]).succeeded();
    let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
    for function in ["wait_for_events", "receive", "wait_for_signals"] {
        assert!(collapsed.count_of(function) > 0, "{run:#?} {collapsed:#?}");
    }
    for _ in 0..20 {
        firefinch(["dump", &pid]).succeeded();
    }
    target.tell("\n");
    assert_eq!(target.line_after("interrupted "), "0 0 0");
}

/// In a recording with native frames every Python frame stands above its caller
/// at its line, and no sample is lost for them.
#[test]
fn recording_of_python() {
    for_every("native-record", |python| {
        let target = Target::start(python, "shares.py").settled();
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("out.txt");
        let (file, pid) = (file.to_str().unwrap(), target.pid_arg());
        let run = firefinch(["record", "-n", "-r", "200", "-d", "1", "-o", file, &pid]).succeeded();
        assert!(run.stderr.contains(" 0 lost;"), "{run:#?}");
        let mut collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
        assert!(collapsed.total() > 0, "{run:#?}");
        let with_native = |frames: &[String]| frames.iter().any(|frame| !is_python(frame));
        assert!(collapsed.count(with_native) > 0, "{collapsed:#?}");
        for (frames, _) in &mut collapsed.stacks {
            frames.retain(|frame| is_python(frame));
        }
        assert_callers(&target, &collapsed);
    });
}

/// Whether a label is that of a Python frame, in these tests.
fn is_python(label: &str) -> bool {
    let place = label.rsplit_once(" (").map_or("", |(_, place)| place);
    place.contains(".py:")
}
