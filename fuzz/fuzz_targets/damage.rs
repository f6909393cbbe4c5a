//! Damages a snapshot of the corpus as the input says, and decodes it: the
//! first two bytes choose the snapshot, the others the damages.
#![no_main]

#[path = "../../crates/cpython/tests/common/mod.rs"]
mod common;
#[path = "../../crates/cpython/tests/common/hostile.rs"]
mod hostile;

use std::path::Path;
use std::sync::OnceLock;

use firefinch_snapshot::Capture;
use hostile::{Choices, damage, decode};
use libfuzzer_sys::fuzz_target;

fn captures() -> &'static [Capture] {
    static CAPTURES: OnceLock<Vec<Capture>> = OnceLock::new();
    CAPTURES.get_or_init(|| {
        let above = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
        let entries = common::corpus_in(&above);
        entries.iter().map(common::Entry::capture).collect()
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((index, choices)) = input.split_first_chunk() else {
        return;
    };
    let captures = captures();
    let mut capture = captures[usize::from(u16::from_le_bytes(*index)) % captures.len()].clone();
    damage(&mut capture, &mut Choices(choices));
    decode(&capture);
});
