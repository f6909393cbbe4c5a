//! Damaged memory is refused or decoded to what is in it, at a bounded cost.

mod common;
#[path = "common/hostile.rs"]
mod hostile;

use common::corpus;
use firefinch_cpython::{Place, RawFrame};
use firefinch_memory::ReadCost;
use hostile::{Choices, damage, decode};

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

/// However memory is damaged: no panic, no endless reading, no large copies,
/// and each stack that is given is in memory as it is given. Where memory was
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
                (only_taken, decode(&damaged))
            });
            total += 1;
            let Ok((only_taken, decoded)) = result else {
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
            most.reads = most.reads.max(decoded.cost.reads);
            most.bytes = most.bytes.max(decoded.cost.bytes);
            most.longest = most.longest.max(decoded.cost.longest);
        }
    }
    println!(
        "{total} damaged: {stacks} stacks given, {whole} of them as they were; {running} as of running threads; at most {most:?}"
    );
    assert!(failed.is_empty(), "at seed {seed}: {failed:#?}");
    assert!(
        stacks > 0 && running > 0 && whole > 0,
        "nothing is ever given"
    );
}
