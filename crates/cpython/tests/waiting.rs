//! Stacks of recorded processes, changed to be those of threads that are just leaving a call
//! which nobody has seen yet.
#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod common;

use std::collections::BTreeSet;

use common::corpus;
use firefinch_cpython::{Field, Motion, Position, RawFrame, StackError, StackReader, find};
use firefinch_memory::Memory;

/// `stacktop` of a frame that executes, to 3.13 (`Include/internal/pycore_frame.h`).
const EXECUTES: i32 = -1;
/// Bytes from one frame to the next in the data stack, at most.
const NEXT: u64 = 256;
/// Bytes of a code unit.
const UNIT: u64 = 2;

/// A thread that has no processor shows the same at each moment. Where that is a caller that
/// has gone on from a call not known yet, its stack waits instead of being lost.
#[test]
fn a_caller_that_has_gone_on() {
    let mut minors = BTreeSet::new();
    for entry in corpus() {
        let capture = entry.capture();
        let runtime = find(&capture.memory, &capture.images(), &capture).unwrap();
        let layout = runtime.layout();
        let (Some(instruction), Some(stack_top)) = (
            layout.get(Field::IframeInstr),
            layout.get(Field::IframeStacktop),
        ) else {
            continue;
        };
        for thread in runtime.threads(&capture.memory).unwrap() {
            let mut stacks = StackReader::new(&runtime).unwrap();
            let truth = stacks.read(&capture.memory, thread.state, Motion::Stopped);
            let truth = truth.unwrap().frames;
            let [newest, caller, ..] = truth.as_slice() else {
                continue;
            };
            let Position::Instruction(at, 0) = caller.position else {
                continue;
            };
            // What C code has called may have been called from anywhere.
            let previous = newest
                .addr
                .offset(layout.need(Field::IframePrevious).unwrap() as u64);
            let is_entry = layout.get(Field::IframeIsEntry).is_some_and(|field| {
                let mut flag = [0];
                let at = newest.addr.offset(field as u64);
                capture.memory.read(at, &mut flag).unwrap();
                flag != [0]
            });
            // A generator lies elsewhere.
            let is_next = newest
                .addr
                .checked_sub(caller.addr)
                .is_some_and(|by| by <= NEXT);
            if is_entry || !is_next || capture.memory.read_ptr(previous) != Ok(caller.addr) {
                continue;
            }
            let mut left = capture.memory.clone();
            let at = at.offset(UNIT).get().to_le_bytes().to_vec();
            left.insert(caller.addr.offset(instruction as u64), at);
            let mark = EXECUTES.to_le_bytes().to_vec();
            left.insert(caller.addr.offset(stack_top as u64), mark);

            let mut stacks = StackReader::new(&runtime).unwrap();
            let read = stacks.read(&left, thread.state, Motion::Running);
            assert_eq!(read, Err(StackError::Unproved), "{}", entry.name);
            // As it was copied: the recordings have no bytecode to tell the call by.
            let unproved = stacks.take_unproved().unwrap();
            let functions = |frames: &[RawFrame]| -> Vec<_> {
                frames
                    .iter()
                    .map(|frame| (frame.addr, frame.code))
                    .collect()
            };
            let (waits, truth) = (functions(&unproved.stack().frames), functions(&truth));
            assert_eq!(waits, truth, "{}", entry.name);
            minors.insert(runtime.version.minor);
        }
    }
    assert_eq!(minors, BTreeSet::from([11, 12, 13]));
}
