//! However a program was built.

use firefinch_native::Status;

use crate::program::{build, own_names};
use crate::{LOOKS, assert_rooted};

/// A thread at full speed and one that waits are found to their roots, all their functions in their order, however the program was built: with or without frame pointers, unwind tables, position independence or a dynamic C library, with glibc and with musl, which describes none of its functions.
#[test]
fn however_built() {
    let builds: [&[&str]; 9] = [
        &["cc", "-O2", "-pthread"],
        &["cc", "-O2", "-pthread", "-fno-omit-frame-pointer"],
        &["cc", "-O0", "-pthread", "-no-pie"],
        &["cc", "-O2", "-pthread", "-static"],
        &["cc", "-O2", "-pthread", "-g", "-gz"],
        &["cc", "-O1", "-pthread", "-fno-asynchronous-unwind-tables"],
        &["musl-gcc", "-O2", "-static"],
        &[
            "musl-gcc",
            "-O1",
            "-static",
            "-fno-asynchronous-unwind-tables",
        ],
        &["musl-gcc", "-O2"],
    ];
    for compiler in builds {
        let Some(program) = build(compiler, "busy.c") else {
            continue;
        };
        let mut target = program.start();
        let stacks = target.sample(LOOKS);
        assert_rooted(&stacks);
        let mut leaves = 0;
        for stack in &stacks {
            let names = own_names(stack);
            let mut rest = names.iter().copied().peekable();
            leaves += usize::from(rest.next_if_eq(&"leaf").is_some());
            while rest.next_if_eq(&"work").is_some() {}
            assert_eq!(rest.next(), Some("spin"), "{compiler:?} {names:?}");
            assert_eq!(rest.next(), Some("start"), "{compiler:?} {names:?}");
        }
        assert!(leaves > 0, "{compiler:?}");
        let waiting = target.waiting();
        let stack = target.blocked(&waiting);
        assert_eq!(
            stack.outcome.status,
            Status::Rooted,
            "{compiler:?} {stack:#?}"
        );
        let names = own_names(&stack);
        let at = names.iter().position(|name| *name == "wait_here");
        let at = at.unwrap_or_else(|| panic!("{compiler:?} {names:?}"));
        assert_eq!(names.get(at + 1), Some(&"main"), "{compiler:?} {names:?}");
        assert_eq!(names.last(), Some(&"_start"), "{compiler:?} {names:?}");
    }
}

/// Without symbols a function is named by its file and where it starts, the same in every run although the program lies elsewhere each time; and what is missing is counted for the program and no other module.
#[test]
fn stripped() {
    let program = build(&["cc", "-O2", "-pthread", "-s"], "busy.c").expect("cc");
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut target = program.start();
        let stacks = target.sample(LOOKS);
        assert_rooted(&stacks);
        let mut found: Vec<String> = stacks
            .iter()
            .flat_map(|stack| own_names(stack).into_iter().map(str::to_owned))
            .collect();
        found.sort();
        found.dedup();
        assert!(found.iter().all(|name| name.starts_with("program+0x")));
        runs.push(found);
        let quality = target.native.quality();
        let missing = quality.modules.values().find(|m| &*m.name == "program");
        assert!(missing.expect("counted").unnamed >= 2 * LOOKS as u64);
    }
    // `leaf`, `work`, `spin` and `start`.
    assert_eq!(runs[0].len(), 4, "{runs:?}");
    assert_eq!(runs[0], runs[1]);
}
