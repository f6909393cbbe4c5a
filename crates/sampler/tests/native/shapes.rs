//! Stacks that are deep, or lie in two places.

use firefinch_native::CodeAddress;
use firefinch_sampler::native::NativeStack;

use crate::program::{build, own_names};
use crate::{LOOKS, assert_rooted};

/// A recursion of more than 64 KB is found to its root at any depth, also when the first look at the thread was at another one.
#[test]
fn deep() {
    let flags = ["cc", "-O2", "-pthread", "-fno-optimize-sibling-calls"];
    let program = build(&flags, "deep.c").expect("cc");
    let mut target = program.start();
    let stacks = target.sample(LOOKS);
    assert_rooted(&stacks);
    let sizes = stacks.iter().map(|stack| {
        let (newest, root) = (stack.frames.first().unwrap(), stack.frames.last().unwrap());
        root.sp.get() - newest.sp.get()
    });
    let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
    assert!(least < 30_000 && most > 80_000, "{least} to {most}");
    let last = |stack: &NativeStack| stack.frames.last().unwrap().sp;
    assert!(stacks.iter().all(|stack| last(stack) == last(&stacks[0])));
}

/// What a signal interrupts is found below its handler, which runs on a stack of its own.
#[test]
fn signals() {
    let program = build(&["cc", "-O2", "-pthread"], "signals.c").expect("cc");
    let mut target = program.start();
    let stacks = target.sample(LOOKS);
    assert_rooted(&stacks);
    let mut handled = 0;
    for stack in &stacks {
        let names = own_names(stack);
        let begins = names.ends_with(&["handler", "start"]) || names == ["start"];
        assert!(begins || names.ends_with(&["work", "start"]), "{names:?}");
        if names.contains(&"handler") {
            let interrupted = stack.frames.iter().skip(1);
            let interrupted =
                interrupted.filter(|f| matches!(f.address, CodeAddress::Instruction(_)));
            assert!(interrupted.count() >= 1, "{stack:#?}");
            handled += 1;
        }
    }
    assert!(handled > 0);
}

/// A function without unwind information is followed to its return over thousands of instructions, and its stack found although the code has rounded its address.
#[test]
fn unrolled() {
    let program = build(&["cc", "-O2", "-pthread"], "unrolled.c").expect("cc");
    let mut target = program.start();
    let stacks = target.sample(LOOKS);
    assert_rooted(&stacks);
    let inside = |stack: &&NativeStack| own_names(stack) == ["unrolled", "start"];
    assert!(stacks.iter().filter(inside).count() > LOOKS / 2);
}
