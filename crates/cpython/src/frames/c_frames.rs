//! What evaluation loops keep on the C stack: `CFrame` in 3.10, `_PyCFrame` in
//! 3.11 (`Include/cpython/pystate.h`), one for each loop, linked from the
//! thread state. The oldest lies in the thread state itself and belongs to no
//! loop; what it names as the one before was never set in 3.10
//! (`new_threadstate`, `Python/pystate.c`).
//!
//! 3.12 has them as well, but there frames lead to their loops by themselves.

use std::collections::HashMap;

use firefinch_memory::{Bytes, Memory, Range, RemoteAddr};

use super::Steps;
use crate::layout::{Field, Layout};

/// Reads threads' chains of them.
#[derive(Debug)]
pub(super) struct CFrames {
    newest: usize,
    /// The size of the thread state.
    thread_size: u64,
    previous: usize,
    current_frame: Option<usize>,
    span: usize,
    /// Where those of each thread were last time.
    known: HashMap<RemoteAddr, Vec<RemoteAddr>>,
    chain: Vec<CFrame>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CFrame {
    pub(super) addr: RemoteAddr,
    /// The newest Python frame of its loop, in 3.11; null if there is none.
    pub(super) current_frame: RemoteAddr,
    previous: RemoteAddr,
}

/// Threads remembered before starting anew.
const MAX_THREADS: usize = 1 << 12;
/// Copied ahead at most; what follows is read one by one.
const MAX_COPIED: usize = 512;

impl CFrames {
    /// `None` where frames lead to their loops, or nothing does.
    pub(super) fn new(layout: &Layout) -> Option<Self> {
        if layout.get(Field::OwnerCstack).is_some() {
            return None;
        }
        let previous = layout.get(Field::CframePrevious)?;
        let current_frame = layout.get(Field::CframeCurrentFrame);
        Some(Self {
            newest: layout.get(Field::TstateCframe)?,
            thread_size: layout.get(Field::TstateSize)? as u64,
            previous,
            current_frame,
            span: previous.max(current_frame.unwrap_or(0)) + 8,
            known: HashMap::new(),
            chain: Vec::new(),
        })
    }

    /// The chain of `thread`, newest first, to the one that belongs to no loop;
    /// `None` if it does not lead there, as it may not in a thread that runs on.
    pub(super) fn read(&mut self, memory: &dyn Memory, thread: RemoteAddr) -> Option<&[CFrame]> {
        if self.known.len() >= MAX_THREADS {
            self.known.clear();
        }
        let known = self.known.entry(thread).or_default();
        let head = thread.offset(self.newest as u64);
        let mut newest = [0; 8];
        let mut bytes = vec![0; self.span * known.len()];
        let mut ranges = vec![Range {
            addr: head,
            buf: &mut newest,
        }];
        let pieces = known.iter().zip(bytes.chunks_exact_mut(self.span));
        ranges.extend(pieces.map(|(addr, buf)| Range { addr: *addr, buf }));
        let filled = memory.read_scattered(&mut ranges).checked_sub(1)?;
        let copies = known.iter().zip(bytes.chunks_exact(self.span));
        let mut copies = copies.take(filled);
        self.chain.clear();
        let mut addr = Bytes(&newest).ptr(0)?;
        let mut steps = Steps::default();
        let mut own = vec![0; self.span];
        let mut is_oldest = false;
        while !is_oldest {
            steps.count(addr).ok()?;
            // The chain grows and shrinks at its newest end.
            let bytes = match copies.clone().position(|(known, _)| *known == addr) {
                Some(at) => copies.nth(at)?.1,
                None => {
                    memory.read(addr, &mut own).ok()?;
                    &own
                }
            };
            let view = Bytes(bytes);
            let current_frame = self.current_frame.map(|offset| view.ptr(offset));
            let c_frame = CFrame {
                addr,
                current_frame: current_frame.flatten().unwrap_or_default(),
                previous: view.ptr(self.previous)?,
            };
            self.chain.push(c_frame);
            let inside = addr.checked_sub(thread);
            is_oldest = inside.is_some_and(|inside| inside < self.thread_size);
            addr = c_frame.previous;
        }
        known.clear();
        known.extend(self.chain.iter().take(MAX_COPIED).map(|c| c.addr));
        Some(&self.chain)
    }
}
