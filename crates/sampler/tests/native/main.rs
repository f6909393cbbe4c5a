//! Stacks of live programs in any language, against what their sources say.
#![cfg(target_arch = "x86_64")]

mod builds;
mod debug_files;
mod languages;
mod program;
mod shapes;

use firefinch_native::Status;
use firefinch_sampler::native::NativeStack;

/// How often a running thread is looked at.
const LOOKS: usize = 400;

#[track_caller]
fn assert_rooted(stacks: &[NativeStack]) {
    let cut = stacks.iter().find(|s| s.outcome.status != Status::Rooted);
    assert!(cut.is_none(), "{cut:#?}");
}
