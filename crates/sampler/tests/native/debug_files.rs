//! Debug information that is not where the code is.

use std::fs;
use std::path::Path;

use firefinch_native::NameSource;

use crate::program::{Program, build, tool};
use crate::{LOOKS, assert_rooted};

/// How a program is changed after it was built.
type Change = fn(&Program) -> bool;

const PLAIN: &[&str] = &["cc", "-O2", "-pthread", "-g", "-Wl,--build-id=none"];
const IDENTIFIED: &[&str] = &[
    "cc",
    "-O2",
    "-pthread",
    "-g",
    "-static",
    "-Wl,--build-id=0xabcdef0123456789",
];
const BY_ID: &str = "usr/lib/debug/.build-id/ab/cdef0123456789.debug";

/// The functions of a running program have their names, files and lines from debug information that is packed, or in another file: named in the program, beside it or in `.debug`, by its build id in a root of its own, or shared with other programs.
#[test]
fn apart() {
    let cases: [(&str, &[&str], Change); 7] = [
        ("zlib", PLAIN, |program| packed(program, "zlib")),
        ("zstd", PLAIN, |program| packed(program, "zstd")),
        ("link beside", PLAIN, |program| linked(program, "a.debug")),
        ("link below", PLAIN, |program| {
            linked(program, ".debug/a.debug")
        }),
        ("build id", IDENTIFIED, |program| split(program, BY_ID)),
        ("packed by build id", IDENTIFIED, |program| {
            packed(program, "zlib") && split(program, BY_ID)
        }),
        ("supplement", PLAIN, supplemented),
    ];
    for (name, compiler, change) in cases {
        let program = build(compiler, "busy.c").expect("cc");
        if !change(&program) {
            continue;
        }
        let mut target = match compiler == IDENTIFIED {
            true => program.start_in_own_root(),
            false => program.start(),
        };
        let stacks = target.sample(LOOKS / 4);
        assert_rooted(&stacks);
        for stack in &stacks {
            let own = stack.frames.iter();
            let own = own.filter(|frame| &*frame.place.module == "program");
            let symbols = own.flat_map(|frame| &*frame.place.symbols);
            let known: Vec<_> = symbols
                .filter(|symbol| {
                    let file = symbol.file.as_deref().unwrap_or_default();
                    symbol.source == NameSource::DebugInfo
                        && file.ends_with("tests/native/busy.c")
                        && symbol.line.is_some()
                })
                .map(|symbol| &*symbol.name)
                .collect();
            assert!(known.ends_with(&["spin", "start"]), "{name}: {stack:#?}");
        }
    }
}

fn packed(program: &Program, format: &str) -> bool {
    let how = format!("--compress-debug-sections={format}");
    tool("objcopy", &[&how, &program.name()])
}

/// Moves debug information to a file in the program's directory.
fn split(program: &Program, to: &str) -> bool {
    let to = program.directory().join(to);
    fs::create_dir_all(to.parent().expect("below")).expect("made");
    let to = to.display().to_string();
    tool("objcopy", &["--only-keep-debug", &program.name(), &to])
        && tool("strip", &[&program.name()])
}

fn linked(program: &Program, to: &str) -> bool {
    let path = program.directory().join(to);
    let link = format!("--add-gnu-debuglink={}", path.display());
    split(program, to) && tool("objcopy", &[&link, &program.name()])
}

/// Moves what two programs have in common to a third file.
fn supplemented(program: &Program) -> bool {
    let at = |name: &str| program.directory().join(name).display().to_string();
    fs::copy(program.name(), Path::new(&at("second"))).expect("copied");
    tool(
        "dwz",
        &["-m", &at("common"), &program.name(), &at("second")],
    ) && Path::new(&at("common")).exists()
}
