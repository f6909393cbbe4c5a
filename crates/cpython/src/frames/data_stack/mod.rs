//! Frames in a thread's data stack (`_PyInterpreterFrame`,
//! `Include/internal/pycore_frame.h`, from 3.11 on).
//!
//! The data stack is a list of chunks (`_PyStackChunk`); within one, frames
//! lie one after another, each naming its caller in `previous`. Two kinds lie
//! elsewhere and are read one by one: those of generators and coroutines,
//! inside their objects, and the interpreter's own entry frames, on the C
//! stack, which run no Python code and are passed over.
//!
//! # Why a stack read from a moving thread is true
//! One read copies the newest chunk from its start up to the frames in use: a
//! few hundred bytes, in about the time of one call or return. *What is in the
//! copy* decides what the stack is ([`moment`]); `current_frame`, read a
//! microsecond earlier, only says how far to copy and where to begin when the
//! newest frame lies in no chunk. So level and chain come from one moment, and
//! nothing is refused or retried because it moves, which would leave only what
//! stands still. The copy is nearly but not quite atomic: [`Calls`] holds back
//! a stack with a call that was never seen standing still.

mod frame;
mod moment;
mod walk;

use std::collections::HashMap;

use firefinch_memory::{Bytes, Memory, ReadError, RemoteAddr};

use super::edges::Calls;
use super::{Motion, RawFrame, RawStack, StackError, Steps};
use crate::layout::{Field, Layout, MissingField};
use frame::{Decoded, FrameLayout, Returns, Shapes};
use walk::Chunks;

/// Reads stacks that lie in data-stack chunks.
#[derive(Debug)]
pub(super) struct DataStack {
    entry: Entry,
    chunk: ChunkLayout,
    frame: FrameLayout,
    shapes: Shapes,
    /// How large the newest chunks are; they seldom change.
    chunk_sizes: HashMap<RemoteAddr, u64>,
    returns: Returns,
    calls: Calls,
    /// Whose turn it is at a moment between two frames.
    turn: bool,
}

/// How a thread state leads to its newest frame and chunk.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `tstate->current_frame`, or `tstate->cframe`.
    frame: usize,
    /// `cframe->current_frame`, in 3.11 and 3.12.
    through: Option<usize>,
    /// `tstate->datastack_chunk`
    chunk: usize,
}

/// `_PyStackChunk` (`Include/cpython/pystate.h`).
#[derive(Clone, Copy, Debug)]
struct ChunkLayout {
    previous: usize,
    size: usize,
    data: usize,
}

/// Looks taken to learn the calls of a stack that has unknown ones. A call
/// that lives shorter than a look takes is learnt when two looks happen to
/// find it at the same place.
const LOOKS: usize = 8;

impl DataStack {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let (frame, through) = match layout.get(Field::TstateCurrentFrame) {
            Some(current) => (current, None),
            None => (
                layout.need(Field::TstateCframe)?,
                Some(layout.need(Field::CframeCurrentFrame)?),
            ),
        };
        Ok(Self {
            entry: Entry {
                frame,
                through,
                chunk: layout.need(Field::TstateDatastackChunk)?,
            },
            chunk: ChunkLayout {
                previous: layout.need(Field::ChunkPrevious)?,
                size: layout.need(Field::ChunkSize)?,
                data: layout.need(Field::ChunkData)?,
            },
            frame: FrameLayout::new(layout)?,
            shapes: Shapes::new(layout)?,
            chunk_sizes: HashMap::new(),
            returns: Returns::new(layout),
            calls: Calls::default(),
            turn: false,
        })
    }

    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        if motion == Motion::Stopped {
            let (newest, chunk) = self.entry.read(memory, thread)?;
            let mut chunks = Chunks::new(self.chunk, chunk);
            let frames = self.follow(memory, &mut chunks, newest)?;
            return Ok(RawStack { frames });
        }
        // A frame that lies in no chunk may be gone before it is read.
        let first = match self.glimpse(memory, thread) {
            Err(_) => self.glimpse(memory, thread)?,
            first => first?,
        };
        if self.calls.know(&first) {
            return Ok(RawStack { frames: first });
        }
        // It is the first look that counts, whatever the others show: else
        // only what stands still would be left.
        let mut last = None;
        for _ in 0..LOOKS {
            // A look that fails only teaches nothing.
            let Ok(next) = self.glimpse(memory, thread) else {
                continue;
            };
            self.calls.learn(last.as_deref().unwrap_or(&first), &next);
            let new = last.is_none() && self.calls.may_be_new(&first, &next);
            if new || self.calls.know(&first) {
                return Ok(RawStack { frames: first });
            }
            last = Some(next);
        }
        Err(StackError::Torn)
    }

    /// The stack at one moment, of a thread that runs.
    fn glimpse(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
    ) -> Result<Vec<RawFrame>, StackError> {
        let (newest, chunk) = self.entry.read(memory, thread)?;
        if newest.is_null() {
            return Ok(Vec::new());
        }
        let mut chunks = Chunks::new(self.chunk, chunk);
        let sizes = &mut self.chunk_sizes;
        let top = match chunks.copy_newest(memory, newest, self.frame.span, sizes)? {
            true => self.top(memory, &chunks, newest)?,
            false => newest,
        };
        self.follow(memory, &mut chunks, top)
    }

    /// Follows `previous` from a frame to the oldest.
    fn follow(
        &self,
        memory: &dyn Memory,
        chunks: &mut Chunks,
        newest: RemoteAddr,
    ) -> Result<Vec<RawFrame>, StackError> {
        let mut frames = Vec::new();
        let mut addr = newest;
        let mut steps = Steps::default();
        while !addr.is_null() {
            steps.count(addr)?;
            let decoded = self.decode(memory, chunks, addr)?;
            // A generator that has stopped since has no caller any more; what
            // runs in one was called by somebody.
            let floats = !decoded.internal && !decoded.in_chunk;
            if floats && decoded.previous.is_null() {
                return Err(StackError::Garbage(addr));
            }
            if !decoded.internal {
                frames.push(decoded.frame);
            }
            addr = decoded.previous;
        }
        Ok(frames)
    }

    fn decode(
        &self,
        memory: &dyn Memory,
        chunks: &mut Chunks,
        addr: RemoteAddr,
    ) -> Result<Decoded, StackError> {
        let garbage = StackError::Garbage(addr);
        let bytes = chunks.frame(memory, addr, self.frame.span)?;
        self.frame.decode(addr, &bytes).ok_or(garbage)
    }
}

impl Entry {
    /// The newest frame and the newest chunk, in one read where they are together.
    fn read(
        &self,
        memory: &dyn Memory,
        thread: RemoteAddr,
    ) -> Result<(RemoteAddr, RemoteAddr), ReadError> {
        let first = self.frame.min(self.chunk);
        let span = self.frame.max(self.chunk) + 8 - first;
        let mut bytes = [0; 512];
        let Some(bytes) = bytes.get_mut(..span) else {
            // No version has them this far apart.
            let frame = memory.read_ptr(thread.offset(self.frame as u64))?;
            let chunk = memory.read_ptr(thread.offset(self.chunk as u64))?;
            return Ok((self.resolve(memory, frame)?, chunk));
        };
        memory.read(thread.offset(first as u64), bytes)?;
        let view = Bytes(bytes);
        let at = |offset: usize| view.ptr(offset - first).unwrap_or_default();
        Ok((self.resolve(memory, at(self.frame))?, at(self.chunk)))
    }

    fn resolve(&self, memory: &dyn Memory, frame: RemoteAddr) -> Result<RemoteAddr, ReadError> {
        match self.through {
            Some(current) if !frame.is_null() => memory.read_ptr(frame.offset(current as u64)),
            _ => Ok(frame),
        }
    }
}
