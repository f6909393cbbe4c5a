//! What other languages than C do.

use firefinch_native::{Status, Truncation};
use firefinch_sampler::native::NativeStack;

use crate::program::{build, names, own_names};
use crate::{LOOKS, assert_rooted};

/// A C++ program that throws and catches without end is found to its root, through the libraries that do it, and where libgcc is about to go on elsewhere: it writes the return address and the registers of there over those of its own frame (`uw_install_context` in unwind-dw2.c, GCC 4 to 15), for which perf loses 1.4 % of this program's stacks, and firefinch did 1.2 %. What is left are the last instructions before it goes there.
#[test]
fn exceptions() {
    let program = build(&["c++", "-O2", "-g", "-pthread"], "throws.cc").expect("c++");
    let mut target = program.start();
    let stacks = target.sample(2 * LOOKS);
    let (mut good, mut short, mut throwing) = (0, 0, 0);
    for stack in &stacks {
        let names = names(stack);
        let rooted = stack.outcome.status == Status::Rooted && names.last() == Some(&"clone3");
        let at = names.iter().rposition(|name| *name == "shop::attempt");
        let whole = match at {
            Some(at) => names.get(at + 1) == Some(&"operator()"),
            None => names.contains(&"operator()"),
        };
        let whole = rooted && whole;
        good += usize::from(whole);
        if matches!(
            stack.outcome.status,
            Status::Truncated(Truncation::MemoryMissing(_))
        ) {
            // The one after the first, if that seemed to end too early.
            short += 1;
        } else {
            assert!(whole || goes_on_elsewhere(stack), "{stack:#?}");
        }
        let thrown = names.iter().position(|name| name.starts_with("_Unwind_"));
        let from = names
            .iter()
            .position(|name| *name == "shop::Counter<unsigned int>::descend");
        throwing += usize::from(thrown.is_some() && thrown < from);
        // Inlined into the function that calls it.
        if let (Some(at), true) = (at, whole && from.is_some()) {
            assert_eq!(names[at - 1], "shop::Counter<unsigned int>::step");
        }
    }
    assert!(good * 100 >= stacks.len() * 99, "{good}");
    assert!(throwing > 0 && short <= 1, "{throwing} {short}");
    let landing = stacks.iter().filter(|stack| stack.outcome.by_search > 0);
    assert!(landing.count() > 0);
}

/// Whether the thread is in one of the functions of libgcc that return to where a stack is unwound to.
fn goes_on_elsewhere(stack: &NativeStack) -> bool {
    let frames = stack.frames.iter();
    let own = frames.take_while(|frame| frame.place.module.starts_with("libgcc_s"));
    let oldest = own.last().and_then(|frame| frame.place.symbols.first());
    oldest
        .is_some_and(|symbol| ["_Unwind_Resume", "_Unwind_RaiseException"].contains(&&*symbol.name))
}

/// A Rust program's generic functions, trait methods and closures have their names.
#[test]
fn rust() {
    let program = build(&["rustc", "-O", "-g", "--edition=2024"], "busy.rs").expect("rustc");
    let mut target = program.start();
    let stacks = target.sample(LOOKS);
    assert_rooted(&stacks);
    for stack in &stacks {
        let names = own_names(stack);
        let at = |function: &str| names.iter().position(|name| *name == function);
        let closure = at("busy::main::{{closure}}");
        assert!(closure.is_some(), "{names:#?}");
        if let Some(work) = at("<busy::Shop<u64> as busy::Worker>::work") {
            let sort = at("busy::sort_all");
            assert!(Some(work) < sort && sort < closure, "{names:#?}");
        }
    }
    let works = |stack: &NativeStack| own_names(stack).iter().any(|n| n.ends_with("::work"));
    assert!(stacks.iter().any(works));
    let waiting = target.waiting();
    let stack = target.blocked(&waiting);
    assert_eq!(stack.outcome.status, Status::Rooted, "{stack:#?}");
    assert!(names(&stack).contains(&"busy::main"));
}

/// Goroutines are found to where the runtime starts them, with Go's names, whether the program has debug information or its frame pointers and code alone; nearly all when it has no symbols either. (What schedules them has a stack that begins in the middle of nowhere.)
#[test]
fn go() {
    for flags in ["-ldflags=", "-ldflags=-w", "-ldflags=-s -w"] {
        let Some(program) = build(&["go", "build", flags], "busy.go") else {
            return;
        };
        let mut target = program.start();
        let stacks = target.sample_all(LOOKS);
        let rooted = |stack: &NativeStack| stack.outcome.status == Status::Rooted;
        let mut working = 0;
        for stack in &stacks {
            let names = names(stack);
            if names.contains(&"main.work") {
                assert!(rooted(stack), "{flags:?} {stack:#?}");
                assert!(names.contains(&"main.spin"), "{names:?}");
                working += 1;
            }
        }
        let named = flags != "-ldflags=-s -w";
        assert_eq!(working > LOOKS / 2, named, "{flags:?}: {working}");
        let whole = stacks.iter().filter(|stack| rooted(stack)).count();
        assert!(whole * 10 >= LOOKS * 9, "{flags:?}: {whole}");
    }
}
