//! Code that was made at run time: trampolines of Python, and of programs that
//! name it in a map.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::native::compile;
use crate::support::{
    Dump, Interpreter, Place, Target, firefinch, for_every_that, interpreter_args,
    is_left_out_without_root, prepare, program_path, to_command, true_stack,
};

/// What Python calls each of its functions by if it is asked to, and since when.
const TRAMPOLINES: [(&str, (u32, u32)); 2] = [("perf", (3, 12)), ("perf_jit", (3, 13))];

/// Through Python's trampolines for perf every stack is followed to its root, and
/// they are not shown beside the functions that they stand for, whether their
/// names are written already or not.
#[test]
fn trampolines_of_python() {
    let can = |python: &Interpreter| python.minor() >= (3, 12);
    for_every_that("trampolines", can, |python| {
        for (option, since) in TRAMPOLINES {
            if python.minor() < since {
                continue;
            }
            let place = Place::below(python);
            let mut args = interpreter_args(python);
            args.extend(["-X", option].map(Into::into));
            args.push(program_path(python, "callbacks.py", &place).into());
            args.extend(["sort", "30"].map(Into::into));
            let mut command = to_command(&args);
            prepare(&mut command, &place);
            let target = Target::run(command, place).settled();
            let left = Left::by(python, &target);
            let stack = true_stack(&target.truth["stack"]);
            let pid = target.pid_arg();
            for native in ["--native", "--native=all"] {
                let run = firefinch(["dump", "--full-filenames", native, &pid]).succeeded();
                assert!(run.stderr.contains(": 100 % rooted,"), "{option} {run:#?}");
                assert!(run.stderr.contains("100 % merged whole"), "{run:#?}");
                assert!(!run.stderr.contains("unwind tables"), "{run:#?}");
                let dump = Dump::parse(&run.stdout);
                dump.only().assert_stack(&stack);
                let of_called = |f: &&str| f.starts_with("py::called:");
                let trampolines = dump.only().merged.iter().map(|frame| &*frame.name);
                let named = trampolines.clone().filter(of_called).count();
                let nameless = trampolines.filter(|f| *f == "[anonymous]").count();
                match native {
                    "--native" => assert_eq!((named, nameless), (0, 0), "{option} {run:#?}"),
                    // CPython writes the other file by 2 MiB at a time.
                    _ => assert!(named >= 30 || option == "perf_jit", "{option} {run:#?}"),
                }
            }
            drop(left);
        }
    });
}

/// The names that Python writes with `-X perf_jit` are shown once they are in the file.
#[test]
fn names_of_a_dump() {
    let can = |python: &Interpreter| python.minor() >= (3, 13);
    for_every_that("perf-jit-names", can, |python| {
        let place = Place::below(python);
        let mut args = interpreter_args(python);
        args.extend(["-X", "perf_jit"].map(Into::into));
        args.push(program_path(python, "perf_names.py", &place).into());
        let mut command = to_command(&args);
        prepare(&mut command, &place);
        let target = Target::run(command, place).settled();
        let left = Left::by(python, &target);
        let run = firefinch(["dump", "--native=all", &target.pid_arg()]).succeeded();
        let dump = Dump::parse(&run.stdout);
        let of_named = |f: &&str| f.starts_with("py::named_");
        let merged = dump.only().merged.iter().map(|frame| &*frame.name);
        assert_eq!(merged.filter(of_named).count(), 30, "{run:#?}");
        drop(left);
    });
}

/// The files that Python leaves behind when it is killed.
struct Left([std::path::PathBuf; 2]);

impl Left {
    fn by(python: &Interpreter, target: &Target) -> Self {
        let of = |begin: &str, end: &str| {
            let name = format!("{begin}-{}.{end}", target.pid());
            python.root.join("tmp").join(name)
        };
        Self([of("perf", "map"), of("jit", "dump")])
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = fs::remove_file(file);
        }
    }
}

/// A map is believed if it is the target's user's or root's, and no other's.
#[test]
fn a_map_of_somebody_else() {
    if is_left_out_without_root("generated-owner") {
        return;
    }
    let place = Place::below(&Interpreter::all()[0]);
    fs::set_permissions(place.outside(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.outside().join("program");
    compile("generated.c", &["-static"], &program);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(&program);
    let target = Target::run(command, place).settled();
    let map = format!("/tmp/perf-{}.map", target.pid());
    for (owner, is_believed) in [(65534, true), (0, true), (1, false)] {
        std::os::unix::fs::chown(&map, Some(owner), None).unwrap();
        let run = firefinch(["dump", &target.pid_arg()]).succeeded();
        let said = run.stderr.contains("belongs to user 1,");
        assert_eq!(run.stdout.contains("made: keeps"), is_believed, "{run:#?}");
        assert_eq!(said, !is_believed, "{run:#?}");
    }
    fs::remove_file(map).unwrap();
}

/// Code of a program that is not Python has the names that the program has given
/// it, in its own root and by its own number, and is unwound with and without a
/// frame pointer.
#[test]
fn a_map_in_another_root_and_pid_namespace() {
    let elsewhere = !is_left_out_without_root("generated");
    for in_container in [false, true] {
        if in_container && !elsewhere {
            continue;
        }
        let place = Place::below(&Interpreter::all()[0]);
        let root = place.outside().to_owned();
        let program = root.join("program");
        compile("generated.c", &["-static"], &program);
        let target = if in_container {
            fs::create_dir(root.join("tmp")).unwrap();
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--kill-child", "chroot"]);
            command.arg(&root).arg("/program");
            let target = Target::run_child(command, place);
            assert_eq!(target.ready, "PID=1");
            target
        } else {
            Target::run(Command::new(&program), place)
        };
        let target = target.settled();
        let run = firefinch(["dump", &target.pid_arg()]).succeeded();
        let dump = Dump::parse(&run.stdout);
        let names: Vec<&str> = dump.only().merged.iter().map(|f| &*f.name).collect();
        let wanted = ["wait_here", "made: moves", "made: keeps", "main"];
        let shown = names.windows(wanted.len()).any(|names| names == wanted);
        assert!(shown, "{in_container} {run:#?}");
        assert!(run.stderr.contains("100 % rooted"), "{run:#?}");
        let _ = fs::remove_file(format!("/tmp/perf-{}.map", target.pid()));
    }
}
