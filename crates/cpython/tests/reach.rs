//! Stacks of recorded processes, read in nothing but what was copied of them.
#![allow(clippy::unwrap_used, reason = "what a test does not expect fails it")]

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;

use common::corpus;
use firefinch_cpython::{Motion, StackReader, find};
use firefinch_memory::{Memory, Range, ReadError, ReadErrorKind, RemoteAddr, Snapshot};

/// A piece of memory.
#[derive(Clone, Debug)]
struct Piece {
    addr: RemoteAddr,
    bytes: Vec<u8>,
}

/// Keeps what is asked for, other than words of what stacks refer to.
struct Asked<'a> {
    memory: &'a Snapshot,
    pieces: RefCell<Vec<Piece>>,
}

const WORDS: usize = 16;

impl Asked<'_> {
    fn keep(&self, addr: RemoteAddr, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.pieces.borrow_mut().push(Piece { addr, bytes });
    }
}

impl Memory for Asked<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.memory.read(addr, buf)?;
        if buf.len() > WORDS {
            self.keep(addr, buf);
        }
        Ok(())
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let done = self.memory.read_scattered(ranges);
        for range in ranges.iter().take(done) {
            self.keep(range.addr, range.buf);
        }
        done
    }
}

/// Those pieces, and words of everything else.
struct Copied<'a> {
    memory: &'a Snapshot,
    pieces: &'a [Piece],
}

impl<'a> Copied<'a> {
    fn find(&self, addr: RemoteAddr, len: usize) -> Option<&'a [u8]> {
        self.pieces.iter().find_map(|piece| {
            let skip = usize::try_from(addr.checked_sub(piece.addr)?).ok()?;
            piece.bytes.get(skip..skip.checked_add(len)?)
        })
    }
}

impl Memory for Copied<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        if let Some(bytes) = self.find(addr, len) {
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        if len > WORDS {
            let kind = ReadErrorKind::Unmapped;
            return Err(ReadError { addr, len, kind });
        }
        self.memory.read(addr, buf)
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let mut done = 0;
        for range in ranges {
            let Some(bytes) = self.find(range.addr, range.buf.len()) else {
                break;
            };
            range.buf.copy_from_slice(bytes);
            done += 1;
        }
        done
    }
}

/// Where all of a stack is said to be copied, what was asked for a moment before is enough to read it; where a piece is missing that says so or the stack cannot be had, and it is never another one.
#[test]
fn what_is_all_there_is_enough() {
    let mut whole = BTreeSet::new();
    for entry in corpus() {
        let capture = entry.capture();
        let memory = &capture.memory;
        let runtime = find(memory, &capture.images(), &capture).unwrap();
        let mut stacks = StackReader::new(&runtime).unwrap();
        let Some(reach) = stacks.reach() else {
            continue;
        };
        for thread in runtime.threads(memory).unwrap() {
            let asked = Asked {
                memory,
                pieces: RefCell::default(),
            };
            // What is asked for first depends on what was known.
            let stack = (0..2).map(|_| stacks.read(&asked, thread.state, Motion::Stopped));
            let stack = stack.last().unwrap().unwrap();
            let pieces = asked.pieces.into_inner();
            let is_in = |pieces: &[Piece]| {
                let copied = Copied { memory, pieces };
                reach.is_in(thread.state, |addr, len| copied.find(addr, len))
            };
            if is_in(&pieces) {
                whole.insert(runtime.version.minor);
            }
            let count = pieces.len();
            for missing in 0..=count {
                let mut pieces = pieces.clone();
                if missing < count {
                    let gone = pieces.remove(missing).addr;
                    pieces.retain(|piece| piece.addr != gone);
                }
                if !is_in(&pieces) {
                    continue;
                }
                let copied = Copied {
                    memory,
                    pieces: &pieces,
                };
                let read = stacks.read(&copied, thread.state, Motion::Stopped);
                if missing == count || read.is_ok() {
                    let mut read = read.unwrap();
                    if missing < count && read.codes.is_none() {
                        // Then each code object is read and compared.
                        read.codes = stack.codes;
                    }
                    assert_eq!(read, stack, "{}", entry.name);
                }
                // What failed is forgotten; it is all there again.
                stacks.read(memory, thread.state, Motion::Stopped).unwrap();
            }
        }
    }
    assert!(whole.is_superset(&[12, 13, 14, 15].into()), "{whole:?}");
}
