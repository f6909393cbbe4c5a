//! Stacks of recorded processes, changed to be stopped where a loop has just begun.
#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod common;

use common::corpus;
use firefinch_cpython::{Motion, StackReader, find};
use firefinch_memory::{Memory, Range, ReadError, RemoteAddr, Snapshot};

/// `tstate->cframe` (`Include/cpython/pystate.h`, 3.11 and 3.12).
const CFRAME: u64 = 56;
/// Where the newest loop keeps what it has not set yet.
const NEWEST: RemoteAddr = RemoteAddr::new(0x7ffd_0000_1000);
/// What lay there: no frame.
const LEFT: u64 = 0x10;

/// A thread whose newest loop has no frame yet.
struct Begun<'a> {
    memory: &'a Snapshot,
    pieces: [(RemoteAddr, Vec<u8>); 2],
}

impl Memory for Begun<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let (newest, bytes) = &self.pieces[0];
        if addr
            .checked_sub(*newest)
            .is_none_or(|skip| skip >= bytes.len() as u64)
        {
            self.memory.read(addr, buf)?;
        }
        for (at, bytes) in &self.pieces {
            for (index, byte) in bytes.iter().enumerate() {
                let skip = at.offset(index as u64).checked_sub(addr);
                let place = skip.and_then(|skip| buf.get_mut(usize::try_from(skip).ok()?));
                if let Some(place) = place {
                    *place = *byte;
                }
            }
        }
        Ok(())
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let done = ranges
            .iter_mut()
            .map(|range| self.read(range.addr, range.buf));
        done.take_while(Result::is_ok).count()
    }
}

/// The loop before says where a stopped thread is, if the newest one does not yet.
#[test]
fn the_loop_before_is_asked() {
    let mut minors = Vec::new();
    for entry in corpus() {
        let capture = entry.capture();
        let memory = &capture.memory;
        let runtime = find(memory, &capture.images(), &capture).unwrap();
        // `_PyCFrame`: 3.11 has a flag before both pointers.
        let words: &[u64] = match runtime.version.minor {
            11 if runtime.version.major == 3 => &[0, LEFT],
            12 => &[LEFT],
            _ => continue,
        };
        for thread in runtime.threads(memory).unwrap() {
            let cframe = thread.state.offset(CFRAME);
            let before = memory.read_ptr(cframe).unwrap();
            let newest = words.iter().copied().chain([before.get()]);
            let newest = newest.flat_map(u64::to_le_bytes).collect();
            let pointer = NEWEST.get().to_le_bytes().to_vec();
            let begun = Begun {
                memory,
                pieces: [(NEWEST, newest), (cframe, pointer)],
            };
            let stack = |memory: &dyn Memory| {
                let mut stacks = StackReader::new(&runtime).unwrap();
                let stack = stacks.read(memory, thread.state, Motion::Stopped);
                stack.unwrap().frames
            };
            assert_eq!(stack(&begun), stack(memory), "{}", entry.name);
            minors.push(runtime.version.minor);
        }
    }
    assert!(minors.contains(&11) && minors.contains(&12), "{minors:?}");
}
