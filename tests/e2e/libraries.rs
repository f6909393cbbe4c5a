//! Libraries that come late, and whose files go or change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::native::compile;
use crate::support::{
    Collapsed, Dump, Interpreter, Nobody, Place, Running, Target, command, firefinch, is_root,
};

/// A program, and the library that it loads when it is told to.
struct Loader {
    target: Target,
    library: PathBuf,
}

/// With a build id, or without one.
const LINKED: [&str; 2] = ["-Wl,--build-id", "-Wl,--build-id=none"];

fn library(inner: &str, linked: &str, output: &Path) {
    let inner = format!("-DINNER={inner}");
    compile("loaded.c", &["-shared", "-fPIC", &inner, linked], output);
}

impl Loader {
    fn start(linked: &str, user: &[&str]) -> Self {
        let place = Place::below(&Interpreter::all()[0]);
        fs::set_permissions(place.outside(), fs::Permissions::from_mode(0o777)).unwrap();
        let program = place.outside().join("program");
        compile("loads.c", &["-ldl"], &program);
        let path = place.outside().join("libwork.so");
        library("inner_old", linked, &path);
        let mut command = match user {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        command.arg(&path);
        let target = Target::run(command, place).settled();
        Self {
            target,
            library: path,
        }
    }

    /// Has it load the library and wait there.
    fn load(&mut self) {
        self.target.tell("\n");
        self.target.line_after("loaded");
        self.target
            .thread_reads(self.target.pid().cast_unsigned().into());
    }

    fn replace(&self, linked: &str) {
        let new = self.library.with_extension("new");
        library("inner_new", linked, &new);
        fs::rename(new, &self.library).unwrap();
    }

    fn dump(&self, nobody: Option<&Nobody>) -> Vec<String> {
        let mut dump = command(["dump"]);
        dump.arg(self.target.pid_arg());
        if let Some(nobody) = nobody {
            dump = nobody.command(&dump);
        }
        let run = Running::start(&mut dump).end().succeeded();
        let dump = Dump::parse(&run.stdout);
        let frames = &dump.only().merged;
        frames.iter().map(|frame| frame.name.clone()).collect()
    }
}

/// A library whose file was deleted or replaced since has the names of the file
/// that is mapped, where that can be had.
#[test]
fn deleted_and_replaced() {
    for linked in LINKED {
        for replaced in [false, true] {
            let mut loader = Loader::start(linked, &[]);
            loader.load();
            match replaced {
                true => loader.replace(linked),
                false => fs::remove_file(&loader.library).unwrap(),
            }
            let names = loader.dump(None);
            let wanted = ["wait_for_line", "inner_old", "run", "main"];
            let shown = names.windows(wanted.len()).any(|names| names == wanted);
            // Only root can open what is mapped and nothing else.
            assert!(shown || !is_root(), "{linked} {replaced} {names:?}");
            assert!(!names.contains(&"inner_new".to_owned()), "{names:?}");
        }
    }
}

/// Where that file cannot be had any more, its exported functions have the names
/// that lie in memory, and so have the others or none: never those of the new file.
#[test]
fn without_rights_the_new_file_names_nothing() {
    let nobody = is_root().then(Nobody::new);
    let user = match nobody {
        Some(_) => &[
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
        ][..],
        None => &[],
    };
    for linked in LINKED {
        for replaced in [false, true] {
            let mut loader = Loader::start(linked, user);
            loader.load();
            match replaced {
                true => loader.replace(linked),
                false => fs::remove_file(&loader.library).unwrap(),
            }
            let names = loader.dump(nobody.as_ref());
            let at = names.iter().position(|name| name == "run");
            let at = at.unwrap_or_else(|| panic!("{linked} {replaced} {names:?}"));
            let inner = &names[at - 1];
            // Of a small file the last page that is mapped has the symbols too.
            let is_known = inner == "inner_old" || inner.starts_with("libwork.so+0x");
            assert!(is_known, "{linked} {replaced} {names:?}");
            assert_eq!(names[at - 2], "wait_for_line");
        }
    }
}

/// A library that is loaded during a recording has its names there.
#[test]
fn loaded_late() {
    let mut loader = Loader::start(LINKED[0], &[]);
    let before = firefinch(["dump", &loader.target.pid_arg()]).succeeded();
    assert!(!before.stdout.contains("inner_old"), "{before:#?}");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("out.txt");
    let (path, pid) = (file.to_str().unwrap(), loader.target.pid_arg());
    let mut record = command(["record", "-i", "-r", "200", "-o", path, &pid]);
    let running = Running::start(&mut record);
    running.sampled();
    loader.load();
    running.sampled();
    running.signal(Signal::SIGINT);
    let run = running.end().succeeded();
    let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
    let wanted = ["main", "run", "inner_old", "wait_for_line"];
    let shown = collapsed.count(|frames| {
        let names = frames.iter().map(|frame| frame.split(' ').next().unwrap());
        let names: Vec<&str> = names.collect();
        names.windows(wanted.len()).any(|names| names == wanted)
    });
    assert!(shown > 0, "{run:#?} {collapsed:#?}");
}
