//! Names, files and lines of real programs, wherever their debug information is.
#![cfg(target_arch = "x86_64")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use firefinch_native::{NameSource, Root, Symbol};
use support::build::{Program, run};
use support::target::Target;

fn names(symbols: &[Symbol]) -> Vec<&str> {
    symbols.iter().map(|symbol| &*symbol.name).collect()
}

const INLINED: [&str; 6] = ["inner", "middle", "outer", "visible", "main", "_start"];
const PLAIN: [&str; 4] = ["outer", "visible", "main", "_start"];

/// The program's own functions are all known from debug information, lines included.
#[track_caller]
fn assert_all_known(symbols: &[Symbol]) {
    assert_eq!(names(symbols), INLINED);
    let lines: Vec<Option<u32>> = symbols.iter().map(|s| s.line).collect();
    assert_eq!(lines[..5], [8, 14, 19, 24, 29].map(Some));
    for symbol in &symbols[..5] {
        assert_eq!(symbol.source, NameSource::DebugInfo);
        let file = symbol.file.as_deref().expect("a file");
        assert!(file.ends_with("tests/programs/names.c"), "{file}");
    }
    let inlined: Vec<bool> = symbols.iter().map(|s| s.inlined).collect();
    assert_eq!(inlined, [true, true, false, false, false, false]);
}

/// The stack of `names.c` when its program has been changed like this.
fn symbols_of(program: &Program, root: Option<PathBuf>) -> Vec<Symbol> {
    Target::start(program).symbols(root).0
}

/// Inlined functions are frames of their own, in any version and compression of DWARF, whether or not its units are listed or refer to each other, and gdb names the same.
#[test]
fn inlined_functions() {
    for flags in [
        &["-O2", "-g"][..],
        &["-O2", "-gdwarf-4", "-no-pie"],
        &["-O2", "-gdwarf-5", "-gz=zlib"],
        &["-O2", "-gdwarf-3", "-fdebug-types-section"],
    ] {
        let program = Program::build("names.c", flags);
        assert_all_known(&symbols_of(&program, None));
    }
    // Packed in another way, without a list of units, and units that refer to others.
    for (flags, change) in [
        (&["-O2", "-g"][..], "--compress-debug-sections=zstd"),
        (&["-O2", "-g"], "--remove-section=.debug_aranges"),
        (
            &["-O2", "-g", "-gz=zlib"],
            "--remove-section=.debug_aranges",
        ),
        (&["-O2", "-g", "-flto"], "--compress-debug-sections=zlib"),
    ] {
        let program = Program::build("names.c", flags).with("objcopy", &[change]);
        assert_all_known(&symbols_of(&program, None));
    }
}

/// Without debug information the symbol table names what is left of the functions; without that the dynamic one names what others may call, and the rest is an offset that is the same in every run.
#[test]
fn symbol_tables() {
    let program = Program::build("names.c", &["-O2"]);
    let symbols = symbols_of(&program, None);
    assert_eq!(names(&symbols), PLAIN);
    assert!(symbols.iter().all(|s| s.source == NameSource::SymbolTable));

    let program = Program::build("names.c", &["-O2", "-rdynamic", "-s"]);
    let symbols = symbols_of(&program, None);
    let again = symbols_of(&program, None);
    assert_eq!(symbols, again);
    assert_eq!(symbols[1].source, NameSource::DynamicSymbols);
    assert_eq!(names(&symbols)[1..3], ["visible", "main"]);
    assert_eq!(symbols[0].source, NameSource::Nothing);
    let offset = symbols[0]
        .name
        .strip_prefix("program+0x")
        .expect("an offset");
    let offset = u64::from_str_radix(offset, 16).expect("hexadecimal");

    // The offset is where the function starts, as the unstripped program says.
    let full = Program::build("names.c", &["-O2", "-rdynamic"]);
    let table = Command::new("nm").arg(&full.path).output().expect("nm");
    let table = String::from_utf8(table.stdout).expect("text");
    let line = table
        .lines()
        .find(|l| l.ends_with(" t outer"))
        .expect("there");
    assert_eq!(
        u64::from_str_radix(&line[..16], 16).expect("an address"),
        offset
    );
}

/// Moves the debug information of a program to `to` below `root`, and strips it.
fn split(program: &Program, root: &Path, to: &Path) -> PathBuf {
    let debug = root.join(to.strip_prefix("/").unwrap_or(to));
    program.split(&debug);
    debug
}

const ID: &str = "-Wl,--build-id=0xabcdef0123456789";

/// Debug information apart is found by build id in the target's root before ours and before debuginfod's cache, and not if the build id is another.
#[test]
fn apart_by_build_id() {
    let by_id = Path::new("/usr/lib/debug/.build-id/ab/cdef0123456789.debug");
    let cached = Path::new("/cache/abcdef0123456789/debuginfo");
    for (place, to) in [("target", by_id), ("own", by_id), ("own", cached)] {
        let program = Program::build("names.c", &["-O2", "-g", ID]);
        let root = program.dir.path().join("roots");
        split(&program, &root.join(place), to);
        let (symbols, files) = Target::start(&program).symbols(Some(root.clone()));
        assert_all_known(&symbols);
        let found = files.found.lock().unwrap();
        let expected = if place == "own" {
            Root::Own
        } else {
            Root::Target
        };
        assert_eq!((found[0].root, &*found[0].path), (expected, to));
        assert_eq!(found.len(), 1);
    }
    let program = Program::build("names.c", &["-O2", "-g", ID]);
    let other = Program::build("names.c", &["-O2", "-g", "-Wl,--build-id=0xffff"]);
    let root = program.dir.path().join("roots");
    split(&other, &root.join("target"), by_id);
    run(Command::new("strip").arg(&program.path));
    let symbols = symbols_of(&program, Some(root));
    assert!(symbols.iter().all(|s| s.source == NameSource::Nothing));
}

/// Debug information apart is found by the name in the program, beside it and in `.debug`, if its CRC is right.
#[test]
fn apart_by_link() {
    for (to, good) in [("", true), (".debug", true), (".debug", false)] {
        let program = Program::build("names.c", &["-O2", "-g", "-Wl,--build-id=none"]);
        let root = program.dir.path().join("roots");
        let to = program.dir.path().join(to).join("other.debug");
        let debug = split(&program, &root.join("target"), &to);
        let link = format!("--add-gnu-debuglink={}", debug.display());
        let program = program.with("objcopy", &[&link]);
        if !good {
            let mut bytes = fs::read(&debug).unwrap();
            bytes.push(0);
            fs::write(&debug, bytes).unwrap();
        }
        let symbols = symbols_of(&program, Some(root));
        if good {
            assert_all_known(&symbols);
        } else {
            assert!(symbols.iter().all(|s| s.source == NameSource::Nothing));
        }
    }
}

/// What dwz moved to a file shared by several is found there.
#[test]
fn supplement() {
    if !support::has("dwz") {
        return support::missing("dwz");
    }
    let program = Program::build("names.c", &["-O2", "-g"]);
    let second = program.dir.path().join("second");
    let common = program.dir.path().join("common.debug");
    fs::copy(&program.path, &second).unwrap();
    run(Command::new("dwz")
        .arg("-m")
        .arg(&common)
        .args([&program.path, &second]));
    let root = program.dir.path().join("roots");
    assert_ne!(names(&symbols_of(&program, Some(root.clone()))), INLINED);
    let below = common.strip_prefix("/").unwrap();
    let found = root.join("target").join(below);
    fs::create_dir_all(found.parent().unwrap()).unwrap();
    fs::copy(&common, found).unwrap();
    assert_all_known(&symbols_of(&program, Some(root)));
}

/// Symbols packed into the program itself name functions that its dynamic symbols leave out.
#[test]
fn mini_debug_info() {
    if !support::has("xz") {
        return support::missing("xz");
    }
    let program = Program::build("names.c", &["-O2"]);
    let symbols = program.dir.path().join("symbols");
    let full = Command::new("objcopy")
        .arg("-S")
        .args(["--keep-symbol=outer"])
        .args([&program.path, &symbols])
        .status();
    assert!(full.expect("objcopy").success());
    run(Command::new("xz").arg(&symbols));
    let packed = format!(".gnu_debugdata={}.xz", symbols.display());
    run(Command::new("strip").arg(&program.path));
    let program = program.with("objcopy", &["--add-section", &packed]);
    let symbols = symbols_of(&program, None);
    assert_eq!(&*symbols[0].name, "outer");
    assert_eq!(symbols[0].source, NameSource::MiniDebugInfo);
    assert_eq!(symbols[1].source, NameSource::Nothing);
}

/// C++ and Rust names are written as in their sources.
#[test]
fn languages() {
    let program = Program::build("names.cc", &["-O2", "-g"]);
    let symbols = symbols_of(&program, None);
    let expected = [
        "outer::Box<double>::method(int) const::{lambda(int)#1}::operator() const",
        "outer::Box<double>::method",
        "outer::function<double>",
        "main",
        "_start",
    ];
    assert_eq!(names(&symbols), expected);
    let program = Program::build("names.cc", &["-O2"]);
    assert_eq!(names(&symbols_of(&program, None)), expected);

    let program = Program::build("names.rs", &["-O", "-g", "--edition=2024"]);
    let symbols = symbols_of(&program, None);
    let names = names(&symbols);
    assert_eq!(names[0], "<names::Here as names::Stop>::stop");
    // The two manglings that compilers use differ here.
    assert!(
        names[1].starts_with("names::generic") && names[1].contains("closure"),
        "{names:#?}"
    );
    assert!(names[2].starts_with("names::generic") && !names[2].contains("closure"));
    assert_eq!(names.last(), Some(&"_start"));
}
