//! Interpreters that are not as they were installed: moved, renamed, stripped,
//! deleted, replaced, embedded, in other namespaces.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{
    Interpreter, Place, Target, copy_programs, for_every, for_every_that, full_dump,
    interpreter_args, is_left_out_without_root, prepare, program_path, programs, to_command,
    true_stack,
};

/// A copy of an interpreter's files under other names.
#[derive(Debug)]
struct Copy {
    place: Place,
    /// What starts it.
    args: Vec<OsString>,
    /// The copy of its executable.
    executable: PathBuf,
    /// The copy of its shared library, if it has one.
    library: Option<PathBuf>,
    home: String,
}

impl Copy {
    /// Copies what `python` runs, the executable under a name without "python".
    fn of(python: &Interpreter) -> Self {
        const ASK: &str = "import os, sys, sysconfig\n\
            get = sysconfig.get_config_var\n\
            print(sys.prefix + ':' + sys.exec_prefix)\n\
            print(os.path.join(get('LIBDIR'), get('INSTSONAME') or ''))\n";
        let mut ask = to_command(&interpreter_args(python));
        let answer = ask.args(["-c", ASK]).output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        let (home, library) = answer.trim_end().split_once('\n').unwrap();

        let place = Place::below(python);
        let copied = |original: &Path, name: &str| {
            let original = original.strip_prefix("/").unwrap();
            let copy = place.outside().join(name);
            // By another process: a child that another test forks meanwhile would
            // hold a file open for writing that we write, and it could not be run.
            let original = python.root.join(original);
            let status = Command::new("cp").arg(original).arg(&copy).status();
            assert!(status.unwrap().success());
            copy
        };
        let mut args = interpreter_args(python);
        let original = PathBuf::from(args.pop().unwrap());
        let executable = copied(&original, "orders");
        args.push(place.inside().join("orders").into());
        let library = (python.linkage == "shared").then(|| {
            let library = Path::new(library);
            copied(library, library.file_name().unwrap().to_str().unwrap())
        });
        Self {
            args,
            executable,
            library,
            home: home.to_owned(),
            place,
        }
    }

    /// Its files.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.executable).chain(&self.library)
    }

    /// Starts `generators.py` in it.
    fn start(self, python: &Interpreter) -> Target {
        let mut command = to_command(&self.args);
        command.arg(program_path(python, "generators.py", &self.place));
        prepare(&mut command, &self.place);
        command.env("PYTHONHOME", &self.home);
        command.env("LD_LIBRARY_PATH", self.place.inside());
        let target = Target::run(command, self.place).settled();
        let maps = fs::read_to_string(format!("/proc/{}/maps", target.pid())).unwrap();
        for file in std::iter::once(&self.executable).chain(&self.library) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let inside = target.place().inside().join(name);
            assert!(
                maps.contains(inside.to_str().unwrap()),
                "{name} runs: {maps}"
            );
        }
        target
    }
}

/// The only stack that is shown is the true one, on the true version.
fn is_seen(python: &Interpreter, target: &Target) {
    let dump = full_dump(target);
    assert_eq!(dump.python.as_ref(), Some(&python.version));
    let truth = true_stack(&target.truth["stack"]);
    dump.thread("MainThread").assert_stack(&truth);
}

/// An interpreter under another name, with its library in another place.
#[test]
fn moved_and_renamed() {
    for_every("build-moved", |python| {
        is_seen(python, &Copy::of(python).start(python));
    });
}

/// An interpreter whose files were deleted since it was started.
#[test]
fn deleted() {
    for_every("build-deleted", |python| {
        let copy = Copy::of(python);
        let files: Vec<_> = copy.files().cloned().collect();
        let target = copy.start(python);
        for file in files {
            fs::remove_file(file).unwrap();
        }
        is_seen(python, &target);
    });
}

/// An interpreter whose files were replaced since it was started, as an
/// upgrade does: what is found under their names belongs to another program.
#[test]
fn replaced() {
    for_every("build-replaced", |python| {
        let copy = Copy::of(python);
        let files: Vec<_> = copy.files().cloned().collect();
        let target = copy.start(python);
        for file in files {
            let new = file.with_extension("new");
            fs::copy(env!("CARGO_BIN_EXE_firefinch"), &new).unwrap();
            fs::rename(&new, &file).unwrap();
        }
        is_seen(python, &target);
    });
}

/// An interpreter without symbols but those that the dynamic linker needs.
#[test]
fn stripped() {
    for_every("build-stripped", |python| {
        let copy = Copy::of(python);
        for file in copy.files() {
            let status = Command::new("strip").arg("--strip-all").arg(file).status();
            assert!(status.unwrap().success());
        }
        is_seen(python, &copy.start(python));
    });
}

/// An interpreter whose files have no section table at all, as some packers
/// leave them; its program headers are all there is.
#[test]
fn without_sections() {
    for_every("build-without-sections", |python| {
        let copy = Copy::of(python);
        for file in copy.files() {
            let mut elf = fs::read(file).unwrap();
            assert_eq!(&elf[..5], b"\x7fELF\x02", "64 bits");
            // e_shoff, e_shnum and e_shstrndx of Elf64_Ehdr (elf(5)).
            elf[0x28..0x30].fill(0);
            elf[0x3c..0x40].fill(0);
            fs::write(file, elf).unwrap();
        }
        is_seen(python, &copy.start(python));
    });
}

/// An interpreter that was started through a symbolic link of another name.
#[test]
fn symbolic_link() {
    for_every("build-symbolic-link", |python| {
        let place = Place::below(python);
        let mut args = interpreter_args(python);
        let original = args.pop().unwrap();
        symlink(&original, place.outside().join("link")).unwrap();
        args.push(place.inside().join("link").into());
        let mut command = to_command(&args);
        command.arg(program_path(python, "generators.py", &place));
        prepare(&mut command, &place);
        // Where python looks for its library when its name tells nothing.
        let prefix = Path::new(&original).ancestors().nth(2).unwrap().to_owned();
        command.env("PYTHONHOME", prefix);
        is_seen(python, &Target::run(command, place).settled());
    });
}

/// A program of C that has Python in it, under a name of its own, run by a
/// thread of C: blocked, and at work.
#[test]
fn embedded() {
    const UNSUPPORTED: i32 = 77;
    let can_be_built = |python: &Interpreter| {
        // Run through a loader, it would need that for the embedder too.
        python.is_elsewhere() || python.command.len() == 1
    };
    let unsupported = RefCell::new(Vec::new());
    for_every_that("build-embedded", can_be_built, |python| {
        let place = Place::below(python);
        copy_programs(&place.outside().join("targets"));
        let mut build = Command::new(programs().join("embed/build"));
        build
            .arg(place.outside().join("orderd"))
            .args(&python.command);
        if python.is_elsewhere() {
            build.env("ROOT", &python.root);
        }
        let built = build.output().unwrap();
        if built.status.code() == Some(UNSUPPORTED) {
            unsupported.borrow_mut().push(python.name.clone());
            return;
        }
        assert!(built.status.success(), "{built:?}");
        let mut args = interpreter_args(python);
        args.truncate(args.len() - 1);
        args.push(place.inside().join("orderd").into());
        args.push(place.inside().join("targets/embed/ledger.py").into());
        let mut blocked = to_command(&args);
        prepare(&mut blocked, &place);
        let target = Target::run(blocked, place).settled();
        let dump = full_dump(&target);
        assert_eq!(dump.python.as_ref(), Some(&python.version));
        let runner = dump.thread("order-runner");
        runner.assert_stack(&true_stack(&target.truth["stack"]));
        assert_eq!(runner.state, "waiting in read");
    });
    let unsupported = unsupported.into_inner();
    assert!(unsupported.is_empty(), "nothing to embed: {unsupported:?}");
}

/// An interpreter that sees PIDs of its own: its threads are shown by the
/// numbers that we see.
#[test]
fn pid_namespace() {
    if is_left_out_without_root("build-pid-namespace") {
        return;
    }
    for_every("build-pid-namespace", |python| {
        let place = Place::below(python);
        let mut args: Vec<OsString> = ["unshare", "--pid", "--fork", "--kill-child"]
            .map(Into::into)
            .to_vec();
        args.push(
            if python.is_elsewhere() {
                "--mount"
            } else {
                "--mount-proc"
            }
            .into(),
        );
        let inner = interpreter_args(python);
        // In another root, the inner command begins with `unshare --mount`.
        let skipped = if python.is_elsewhere() { 2 } else { 0 };
        args.extend(inner.into_iter().skip(skipped));
        args.push(program_path(python, "threads.py", &place).into());
        let mut command = to_command(&args);
        prepare(&mut command, &place);
        let target = Target::run_child(command, place).settled();
        assert!(target.ready.starts_with("PID=1 "), "{}", target.ready);

        let dump = full_dump(&target);
        let threads = target.truth["threads"].as_object().unwrap();
        assert_eq!(dump.threads.len(), threads.len());
        for (name, known) in threads {
            let thread = dump.thread(name);
            assert_eq!(
                inner_number(&target, thread.id),
                known["native_id"],
                "{name}"
            );
            if known["state"] == "idle" {
                thread.assert_stack(&true_stack(&known["stack"]));
            }
        }
    });
}

/// What the thread that we see by this number is called in its own namespace:
/// the last number of NSpid (proc_pid_status(5)).
fn inner_number(target: &Target, id: Option<u64>) -> Value {
    let id = id.expect("an OS thread id");
    let status = format!("/proc/{}/task/{id}/status", target.pid());
    let status = fs::read_to_string(&status).unwrap_or_else(|e| panic!("{status}: {e}"));
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let last = numbers.unwrap().split_whitespace().last().unwrap();
    last.parse::<u64>().unwrap().into()
}
