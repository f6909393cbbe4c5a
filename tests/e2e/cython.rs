//! Functions of Cython, by the names and lines that their author gave them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    Dump, Interpreter, Place, Target, firefinch, for_every_that, interpreter_args, prepare,
    programs, to_command, true_stack,
};

/// The functions between Python's, newest first.
const FUNCTIONS: [&str; 4] = [
    "shapes.Shape.area",
    "shapes.helper",
    "shapes.work",
    "shapes.both",
];

/// How a module can have been built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    /// With debug information; the file of C lies where it was compiled, and
    /// was compiled as usual.
    Plain,
    /// The file of C lies beside the module, which was compiled elsewhere.
    Beside,
    /// The debug information itself names the lines of the source.
    LineDirectives,
    /// With symbols alone, each function by itself.
    Symbols,
}

/// Cython, in an environment of its own that scripts/test makes.
fn cython() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let cython = cache.unwrap().join("firefinch/tools/cython/bin/cython");
    assert!(
        cython.exists(),
        "{} is made by scripts/test",
        cython.display()
    );
    cython
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?} {done:#?}");
}

/// Makes the module `shapes` in a directory.
fn make(python: &Interpreter, build: Build, directory: &Path) {
    let source = directory.join("shapes.pyx");
    fs::copy(programs().join("shapes.pyx"), &source).unwrap();
    let mut cython = Command::new(cython());
    cython.current_dir(directory).args(["-3", "shapes.pyx"]);
    cython.args((build == Build::LineDirectives).then_some("--line-directives"));
    run(&mut cython);
    let elsewhere = directory.join("elsewhere");
    let compiled = match build {
        Build::Beside => elsewhere.join("shapes.c"),
        _ => directory.join("shapes.c"),
    };
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(directory.join("shapes.c"), &compiled).unwrap();
    let options: &[&str] = match build {
        Build::Symbols => &["-O0"],
        _ => &["-O1", "-g"],
    };
    let mut cc = Command::new("cc");
    cc.args(options).args(["-shared", "-fPIC", "-w", "-I"]);
    cc.arg(python.include().unwrap()).arg(&compiled);
    cc.arg("-o").arg(directory.join("shapes.so"));
    run(&mut cc);
    match build {
        Build::Plain => {}
        Build::Beside => fs::rename(&compiled, directory.join("shapes.c")).unwrap(),
        Build::LineDirectives | Build::Symbols => fs::remove_file(&compiled).unwrap(),
    }
}

/// Each function of Cython is one frame, with its qualified name and the line of
/// its source where it stands: by the comments in the file of C, where it was
/// compiled or beside the module, by the debug information if that names the
/// source, and without any of them by its name alone.
#[test]
fn functions_of_cython() {
    // What Cython 3.3 supports.
    let can = |python: &Interpreter| python.minor() >= (3, 9) && python.include().is_some();
    for_every_that("cython", can, |python| {
        let few = ["3.9", "3.13"].contains(&&*python.name);
        let builds = [
            Build::Plain,
            Build::Beside,
            Build::LineDirectives,
            Build::Symbols,
        ];
        for build in builds.into_iter().take(if few { 4 } else { 1 }) {
            let place = Place::below(python);
            make(python, build, place.outside());
            let mut args = interpreter_args(python);
            args.push(programs().join("cython_calls.py").into());
            args.push(place.inside().into());
            let mut command = to_command(&args);
            prepare(&mut command, &place);
            let target = Target::run(command, place).settled();
            let pid = target.pid_arg();
            let run = firefinch(["dump", "--full-filenames", "-n", &pid]).succeeded();
            let dump = Dump::parse(&run.stdout);
            dump.only()
                .assert_stack(&true_stack(&target.truth["stack"]));
            let merged = &dump.only().merged;
            let below = merged.iter().skip_while(|frame| frame.name != "called");
            let native = below
                .skip(1)
                .take_while(|frame| frame.name != "main")
                .map(|frame| (&*frame.name, frame.place.as_deref(), frame.line));
            let native: Vec<_> = native.collect();
            let expected = FUNCTIONS.map(|function| match build {
                Build::Symbols => (function, Some("shapes.so"), None),
                _ => (function, Some("shapes.pyx"), marked(function)),
            });
            let shown = native.iter().map(|(name, place, line)| {
                // With debug information the path is what the compiler was told.
                let place = place.map(|place| place.rsplit('/').next().unwrap());
                (*name, place, *line)
            });
            assert!(shown.eq(expected), "{build:?} {run:#?}");
        }
    });
}

/// The line of the source that says to be this function's.
fn marked(function: &str) -> Option<u64> {
    let source = fs::read_to_string(programs().join("shapes.pyx")).unwrap();
    let mark = format!("# MARK {function}");
    let mut lines = source.lines().zip(1..);
    let (_, line) = lines.find(|(line, _)| line.ends_with(&mark))?;
    Some(line)
}
