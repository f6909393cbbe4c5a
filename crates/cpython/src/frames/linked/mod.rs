//! Frames as heap objects linked by `f_back` (`Include/frameobject.h`, to 3.10).
//!
//! # Why a stack read from a moving thread is true
//! Each frame is an object of its own, so a chain takes one read a frame, and
//! a fast program calls and returns between two reads. A seam between two
//! moments shows as a call that the program does not make, so a chain is
//! believed by its calls ([`Habits`]); what they are is learnt from chains that
//! read the same a second time, in the other order. A frame that has returned
//! gives itself away, as its `f_back` is cleared when it is released
//! (`frame_dealloc`, `Objects/frameobject.c`). A chain that fails is read again
//! from the newest frame, so very short calls are seen a little less often
//! than they are made.

mod habits;

use std::collections::HashMap;

use firefinch_memory::{Bytes, Memory, Range, RemoteAddr};

use super::{Motion, Position, RawFrame, RawStack, StackError, Steps};
use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;
use habits::Habits;

/// Reads stacks that are chains of frame objects.
#[derive(Debug)]
pub(super) struct Linked {
    chain: Chain,
    habits: Habits,
    call_sites: CallSites,
    random: u64,
}

/// How to follow a chain.
#[derive(Debug)]
struct Chain {
    thread_frame: usize,
    back: usize,
    code: usize,
    last_instruction: usize,
    /// Bytes per unit of `f_lasti`.
    unit: i32,
    /// The bytes of a frame that are read: from the first field needed to the last.
    first: usize,
    span: usize,
}

/// How often a chain that moves is read again.
const LOOKS: usize = 16;
/// Turns of an empty loop, each some tens of nanoseconds.
const MAX_PAUSE: u64 = 256;

impl Linked {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        Ok(Self {
            chain: Chain::new(layout)?,
            habits: Habits::default(),
            call_sites: CallSites::new(layout)?,
            random: 0x9e37_79b9_7f4a_7c15,
        })
    }

    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        if motion == Motion::Stopped {
            let frames = self.chain.follow(memory, thread)?;
            return Ok(RawStack { frames });
        }
        let mut failure = StackError::Torn;
        self.habits.begin();
        for _ in 0..LOOKS {
            let frames = match self.chain.follow(memory, thread) {
                Ok(frames) => frames,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            if !self.habits.know(&frames) {
                failure = StackError::Torn;
                if !self.chain.reads_the_same(memory, &frames) {
                    continue;
                }
                self.habits.look(&frames);
                self.count(memory, &frames);
                if !self.habits.know(&frames) {
                    self.pause();
                    continue;
                }
            }
            self.count(memory, &frames);
            return Ok(RawStack { frames });
        }
        Err(failure)
    }

    fn count(&mut self, memory: &dyn Memory, frames: &[RawFrame]) {
        // The newest frame calls nobody.
        for frame in frames.iter().skip(1) {
            self.call_sites.look_at(memory, frame);
        }
        let sites = &self.call_sites;
        self.habits.count(frames, |frame| sites.contains(frame));
    }

    /// Passes up to some microseconds, never the same time twice in a row.
    fn pause(&mut self) {
        // xorshift (Marsaglia 2003): any sequence that keeps no step will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        for _ in 0..self.random % MAX_PAUSE {
            std::hint::spin_loop();
        }
    }
}

/// Which places in the bytecode are calls.
#[derive(Debug)]
struct CallSites {
    opcodes: Vec<u8>,
    bytecode: usize,
    data: usize,
    known: HashMap<(RemoteAddr, Position), bool>,
}

/// Places remembered before starting anew.
const MAX_SITES: usize = 1 << 20;

impl CallSites {
    fn new(layout: &Layout) -> Result<Self, MissingField> {
        let fields = [
            Field::OpCallFunction,
            Field::OpCallFunctionKw,
            Field::OpCallFunctionEx,
            Field::OpCallFunctionVar,
            Field::OpCallFunctionVarKw,
            Field::OpCallMethod,
        ];
        let opcode = |field| u8::try_from(layout.get(field)?).ok();
        Ok(Self {
            opcodes: fields.into_iter().filter_map(opcode).collect(),
            bytecode: layout.need(Field::CodeCode)?,
            data: layout.need(Field::BytesData)?,
            known: HashMap::new(),
        })
    }

    fn look_at(&mut self, memory: &dyn Memory, frame: &RawFrame) {
        let key = (frame.code, frame.position);
        if self.known.contains_key(&key) {
            return;
        }
        if self.known.len() >= MAX_SITES {
            self.known.clear();
        }
        let is_call = self.reads_call(memory, frame).unwrap_or(false);
        self.known.insert(key, is_call);
    }

    fn reads_call(&self, memory: &dyn Memory, frame: &RawFrame) -> Option<bool> {
        let Position::Offset(offset) = frame.position else {
            return None;
        };
        let offset = u64::try_from(offset).ok()?;
        let code = frame.code.offset(self.bytecode as u64);
        let bytes = memory.read_ptr(code).ok()?;
        let mut opcode = [0];
        let at = bytes.offset(self.data as u64 + offset);
        memory.read(at, &mut opcode).ok()?;
        Some(self.opcodes.contains(&opcode[0]))
    }

    fn contains(&self, frame: &RawFrame) -> bool {
        let key = (frame.code, frame.position);
        self.known.get(&key).copied().unwrap_or(false)
    }
}

impl Chain {
    fn new(layout: &Layout) -> Result<Self, MissingField> {
        let back = layout.need(Field::FrameBack)?;
        let code = layout.need(Field::FrameCode)?;
        let last_instruction = layout.need(Field::FrameLasti)?;
        let used = [back, code, last_instruction];
        let first = used.into_iter().min().unwrap_or(0);
        let last = used.into_iter().max().unwrap_or(0);
        Ok(Self {
            thread_frame: layout.need(Field::TstateFrame)?,
            back,
            code,
            last_instruction,
            unit: LineEncoding::of(layout).frame_unit(),
            first,
            span: last + 8 - first,
        })
    }

    /// Follows `f_back` from the newest frame to the oldest.
    fn follow(&self, memory: &dyn Memory, thread: RemoteAddr) -> Result<Vec<RawFrame>, StackError> {
        let mut frames = Vec::new();
        let mut addr = memory.read_ptr(thread.offset(self.thread_frame as u64))?;
        let mut bytes = vec![0; self.span];
        let mut steps = Steps::default();
        while !addr.is_null() {
            steps.count(addr)?;
            memory.read(addr.offset(self.first as u64), &mut bytes)?;
            let (frame, back) = self
                .decode(addr, &bytes)
                .filter(|(frame, _)| !frame.code.is_null())
                .ok_or(StackError::Garbage(addr))?;
            frames.push(frame);
            addr = back;
        }
        Ok(frames)
    }

    /// Reads the frames again, the oldest first: whether each caller stands
    /// where it stood, and each frame has the caller it had.
    fn reads_the_same(&self, memory: &dyn Memory, frames: &[RawFrame]) -> bool {
        let mut copies = vec![0; self.span * frames.len()];
        let mut ranges: Vec<_> = frames
            .iter()
            .rev()
            .zip(copies.chunks_exact_mut(self.span))
            .map(|(frame, buf)| Range {
                addr: frame.addr.offset(self.first as u64),
                buf,
            })
            .collect();
        if memory.read_scattered(&mut ranges) != frames.len() {
            return false;
        }
        let mut caller = RemoteAddr::NULL;
        let oldest_first = frames.iter().enumerate().rev();
        oldest_first
            .zip(copies.chunks_exact(self.span))
            .all(|((height, frame), bytes)| {
                let Some((again, back)) = self.decode(frame.addr, bytes) else {
                    return false;
                };
                let stands = height == 0 || again.position == frame.position;
                let same = again.code == frame.code && back == caller && stands;
                caller = frame.addr;
                same
            })
    }

    /// One frame and its caller.
    fn decode(&self, addr: RemoteAddr, bytes: &[u8]) -> Option<(RawFrame, RemoteAddr)> {
        let view = Bytes(bytes);
        let at = |field: usize| field - self.first;
        // `f_lineno` is kept up only while a frame is traced; the instruction always.
        let last_instruction = view.i32(at(self.last_instruction))?;
        let frame = RawFrame {
            addr,
            code: view.ptr(at(self.code))?,
            position: Position::Offset(last_instruction.saturating_mul(self.unit)),
        };
        Some((frame, view.ptr(at(self.back))?))
    }
}
