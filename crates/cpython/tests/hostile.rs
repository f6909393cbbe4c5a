//! Damaged memory is refused or decoded to what is in it, at a bounded cost.

mod common;
#[path = "common/giants.rs"]
mod giants;
#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/meter.rs"]
mod meter;

use std::collections::BTreeMap;

use common::corpus;
use firefinch_cpython::{Place, RawFrame};
use firefinch_memory::ReadCost;
use giants::{GIANTS, Giant};
use hostile::{Choices, damage, decode, decode_within};
use meter::metered;

/// How often each snapshot is damaged, unless the environment says otherwise.
const ROUNDS: u64 = 30;
const ROUNDS_VARIABLE: &str = "FIREFINCH_MUTATIONS";
/// Where the sequence begins, unless the environment says otherwise: a run can
/// be repeated, and another be another.
const SEED: u64 = 1;
const SEED_VARIABLE: &str = "FIREFINCH_SEED";

fn variable(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// Splitmix64 (Steele, Lea and Flood 2014): any number is a good seed.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Bytes to choose by: enough for one to some dozen damages.
fn choices(snapshot: &str, seed: u64, round: u64) -> Vec<u8> {
    let name = snapshot
        .bytes()
        .fold(0, |h: u64, b| h.wrapping_mul(257) + u64::from(b));
    let mut state = name ^ seed.rotate_left(32) ^ round;
    let len = 4 + next(&mut state) % 60;
    (0..len)
        .map(|_| next(&mut state).to_le_bytes()[0])
        .collect()
}

/// Whether a stack has the frames and functions of another one, and its lines or
/// none.
fn is_part(stack: &[(RawFrame, Place)], of: &[(RawFrame, Place)]) -> bool {
    let mut pairs = stack.iter().zip(of);
    let function = |place: &Place| {
        let code = &place.code;
        let names = (code.name.clone(), code.qualified_name.clone());
        (names, code.filename.clone(), code.first_line)
    };
    let same = |(frame, place): &(RawFrame, Place), (true_frame, truth): &(RawFrame, Place)| {
        let line = place.line.is_none() || place.line == truth.line;
        frame == true_frame && function(place) == function(truth) && line
    };
    stack.len() == of.len() && pairs.all(|(frame, truth)| same(frame, truth))
}

/// The most memory that decoding may take at a time, in bytes.
const MOST_HELD: usize = 256 << 20;

/// However memory is damaged: no panic, no endless reading, no large copies,
/// no more memory than a profiler may have, and each stack that is given is in memory as it is given. Where memory was
/// only taken away, what is still given is what was there, but that a line is
/// missing where the table of lines is.
#[test]
fn damaged_memory() {
    let (rounds, seed) = (
        variable(ROUNDS_VARIABLE, ROUNDS),
        variable(SEED_VARIABLE, SEED),
    );
    println!("seed {seed}, {rounds} rounds for each snapshot");
    let mut most = ReadCost::default();
    let mut most_held = 0;
    let mut failed = Vec::new();
    let (mut total, mut stacks, mut whole, mut running) = (0, 0, 0, 0);
    for entry in corpus() {
        let intact = entry.capture();
        let truth = decode(&intact);
        assert_eq!(truth.stacks.len(), intact.expected.threads.len());
        for round in 0..rounds {
            let choices = choices(&entry.name, seed, round);
            let mut damaged = intact.clone();
            let result = std::panic::catch_unwind(move || {
                let only_taken = damage(&mut damaged, &mut Choices(&choices));
                let (decoded, held) = metered(|| decode(&damaged));
                assert!(held < MOST_HELD, "{held} bytes");
                (only_taken, decoded, held)
            });
            total += 1;
            let Ok((only_taken, decoded, held)) = result else {
                failed.push(format!("{} round {round}", entry.name));
                continue;
            };
            for (thread, stack) in &decoded.stacks {
                let same = truth.stacks.get(thread) == Some(stack);
                whole += u64::from(same);
                let is_part = || {
                    truth
                        .stacks
                        .get(thread)
                        .is_some_and(|truth| is_part(stack, truth))
                };
                if only_taken && !same && !is_part() {
                    failed.push(format!("{} round {round}: another stack", entry.name));
                }
            }
            stacks += decoded.stacks.len();
            running += decoded.running;
            most_held = most_held.max(held);
            most.reads = most.reads.max(decoded.cost.reads);
            most.bytes = most.bytes.max(decoded.cost.bytes);
            most.longest = most.longest.max(decoded.cost.longest);
        }
    }
    println!(
        "{total} damaged: {stacks} stacks given, {whole} of them as they were; {running} as of running threads; at most {most:?}, {most_held} bytes held"
    );
    assert!(failed.is_empty(), "at seed {seed}: {failed:#?}");
    assert!(
        stacks > 0 && running > 0 && whole > 0,
        "nothing is ever given"
    );
}

/// Stacks of two thousand frames and functions that name a hundred thousand others take more
/// reads than what is in the corpus; and no target makes more than a gigabyte be read.
const LIMIT_OF_GIANTS: ReadCost = ReadCost {
    reads: 1 << 22,
    bytes: 1 << 30,
    ..hostile::LIMIT
};

/// Whatever a target makes as large as it can, and however often it is shared, decoding
/// that holds no more memory than a profiler may have.
#[test]
fn giants() {
    let mut made = BTreeMap::new();
    let entries = corpus();
    let threads = entries.iter().filter(|e| e.name.ends_with("/threads"));
    for entry in threads {
        let intact = entry.capture();
        for (name, make) in GIANTS {
            let mut giant = Giant::of(&intact);
            if make(&mut giant).is_none() {
                continue;
            }
            let (decoded, held) = metered(|| decode_within(&giant.capture, LIMIT_OF_GIANTS));
            let deepest = decoded.stacks.values().map(Vec::len).max();
            let cost = decoded.cost;
            println!("{} {name}: {held} bytes, {deepest:?} {cost:?}", entry.name);
            assert!(held < MOST_HELD, "{} {name}: {held} bytes", entry.name);
            *made.entry(name).or_insert(0) += 1;
        }
    }
    println!("{made:?}");
    assert_eq!(made.len(), GIANTS.len(), "{made:?}");
}

/// Whatever `_Py_DebugOffsets` says instead of one of its numbers, decoding takes no more.
#[test]
fn giant_offsets() {
    let mut changed = 0;
    for entry in corpus().iter().filter(|e| e.name.ends_with("/threads")) {
        let intact = entry.capture();
        for word in Giant::debug_offsets(&intact) {
            for value in [0x3f_fff8, 0xfff8, 0x3f8_u64] {
                let mut capture = intact.clone();
                capture.memory.insert(word, value.to_le_bytes().to_vec());
                let (_, held) = metered(|| decode_within(&capture, LIMIT_OF_GIANTS));
                let name = &entry.name;
                assert!(held < MOST_HELD, "{name} {word}: {held} bytes");
                changed += 1;
            }
        }
    }
    assert!(changed > 0, "no version has debug offsets");
}
