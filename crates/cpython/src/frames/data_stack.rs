use firefinch_memory::{Bytes, Memory, ReadError, RemoteAddr};

use super::{MAX_FRAMES, Motion, Position, RawFrame, RawStack, StackError};
use crate::layout::{Field, Layout, MissingField};

/// Frames in a thread's data stack (`_PyInterpreterFrame`,
/// `Include/internal/pycore_frame.h`, from 3.11 on).
///
/// The data stack is a list of chunks (`_PyStackChunk`); within one, frames lie
/// one after another, so a chunk is copied in one read up to its last frame in
/// use. Two kinds of frame lie elsewhere and are read one by one: those of
/// generators and coroutines, inside their objects, and the interpreter's own
/// entry frames, on the C stack. The latter run no Python code and are passed over.
#[derive(Debug)]
pub(super) struct DataStack {
    entry: Entry,
    chunk: usize,
    chunk_previous: usize,
    chunk_size: usize,
    chunk_data: usize,
    frame: FrameLayout,
    copies: Vec<Copy>,
}

/// How a thread state leads to its newest frame.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// `tstate->current_frame`
    Direct(usize),
    /// `tstate->cframe->current_frame`
    ThroughCframe(usize, usize),
}

#[derive(Clone, Copy, Debug)]
struct FrameLayout {
    previous: usize,
    code: usize,
    instruction: usize,
    owner: usize,
    tlbc_index: Option<usize>,
    /// Owners from this value on are the interpreter's own frames.
    internal_owner: u8,
    span: usize,
}

/// One frame, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decoded {
    frame: RawFrame,
    previous: RemoteAddr,
    internal: bool,
}

/// A part of a chunk, copied in one read.
#[derive(Debug)]
struct Copy {
    start: RemoteAddr,
    bytes: Vec<u8>,
}

/// Chunks start at 16 KiB and double until a frame fits (`push_chunk`,
/// `Python/pystate.c`); a frame has at most a few million locals.
const MAX_CHUNK: u64 = 64 << 20;
/// Code objects are aligned to 16 bytes; what is below is a reference's tag
/// (`Include/internal/pycore_stackref.h`, from 3.14 on).
const TAG_BITS: u32 = 3;

impl DataStack {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let entry = match layout.get(Field::TstateCurrentFrame) {
            Some(current) => Entry::Direct(current),
            None => Entry::ThroughCframe(
                layout.need(Field::TstateCframe)?,
                layout.need(Field::CframeCurrentFrame)?,
            ),
        };
        Ok(Self {
            entry,
            chunk: layout.need(Field::TstateDatastackChunk)?,
            chunk_previous: layout.need(Field::ChunkPrevious)?,
            chunk_size: layout.need(Field::ChunkSize)?,
            chunk_data: layout.need(Field::ChunkData)?,
            frame: FrameLayout::new(layout)?,
            copies: Vec::new(),
        })
    }

    fn newest(&self, memory: &dyn Memory, thread: RemoteAddr) -> Result<RemoteAddr, ReadError> {
        match self.entry {
            Entry::Direct(current) => memory.read_ptr(thread.offset(current as u64)),
            Entry::ThroughCframe(cframe, current) => {
                let cframe = memory.read_ptr(thread.offset(cframe as u64))?;
                if cframe.is_null() {
                    return Ok(RemoteAddr::NULL);
                }
                memory.read_ptr(cframe.offset(current as u64))
            }
        }
    }

    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        let newest = self.newest(memory, thread)?;
        let chain = self.walk(memory, thread, newest)?;
        if motion == Motion::Running {
            let newest_again = self.newest(memory, thread)?;
            if newest_again != newest {
                return Err(StackError::Torn);
            }
            let again = self.walk(memory, thread, newest)?;
            if !coherent(&chain, &again) {
                return Err(StackError::Torn);
            }
        }
        let frames = chain
            .into_iter()
            .filter(|decoded| !decoded.internal)
            .map(|decoded| decoded.frame)
            .collect();
        Ok(RawStack { frames })
    }

    /// Follows `previous` from the newest frame to the oldest.
    fn walk(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        newest: RemoteAddr,
    ) -> Result<Vec<Decoded>, StackError> {
        self.copies.clear();
        let mut chunks = Chunks {
            next: memory.read_ptr(thread.offset(self.chunk as u64))?,
            seen: Vec::new(),
        };
        let mut chain: Vec<Decoded> = Vec::new();
        let mut alone = vec![0; self.frame.span];
        let mut addr = newest;
        while !addr.is_null() {
            if chain.len() >= MAX_FRAMES {
                return Err(StackError::TooDeep);
            }
            let bytes = if self.copy_of(memory, &mut chunks, addr)? {
                self.copied(addr).ok_or(StackError::Garbage(addr))?
            } else {
                memory.read(addr, &mut alone)?;
                &alone
            };
            let decoded = self
                .frame
                .decode(addr, bytes)
                .ok_or(StackError::Garbage(addr))?;
            addr = decoded.previous;
            chain.push(decoded);
        }
        Ok(chain)
    }

    /// The frame at `addr` in the copy made last, which holds nearly all of them.
    fn copied(&self, addr: RemoteAddr) -> Option<&[u8]> {
        self.copies.iter().rev().find_map(|copy| {
            let offset = usize::try_from(addr.checked_sub(copy.start)?).ok()?;
            Bytes(&copy.bytes).slice(offset, self.frame.span)
        })
    }

    /// Makes sure that the frame at `addr` is copied if it lies in a chunk;
    /// says whether it does.
    fn copy_of(
        &mut self,
        memory: &dyn Memory,
        chunks: &mut Chunks,
        addr: RemoteAddr,
    ) -> Result<bool, StackError> {
        if self.copied(addr).is_some() {
            return Ok(true);
        }
        loop {
            if let Some(chunk) = chunks.containing(addr) {
                let first = chunk.start.offset(self.chunk_data as u64);
                let used = addr
                    .checked_sub(first)
                    .ok_or(StackError::Garbage(addr))?
                    .saturating_add(self.frame.span as u64);
                let limit = usize::try_from(MAX_CHUNK).unwrap_or(usize::MAX);
                let bytes = memory.read_vec(first, used, limit)?;
                self.copies.push(Copy {
                    start: first,
                    bytes,
                });
                return Ok(true);
            }
            if chunks.next.is_null() {
                return Ok(false);
            }
            let start = chunks.next;
            let size = memory.read_u64(start.offset(self.chunk_size as u64))?;
            let previous = memory.read_ptr(start.offset(self.chunk_previous as u64))?;
            if size > MAX_CHUNK || chunks.seen.len() > MAX_FRAMES {
                return Err(StackError::Garbage(start));
            }
            chunks.seen.push(Chunk { start, size });
            chunks.next = previous;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    start: RemoteAddr,
    /// In bytes, with its header.
    size: u64,
}

/// The chunks of one thread, listed only as far as a frame needs them.
#[derive(Debug)]
struct Chunks {
    seen: Vec<Chunk>,
    next: RemoteAddr,
}

impl Chunks {
    fn containing(&self, addr: RemoteAddr) -> Option<Chunk> {
        let inside = |c: &&Chunk| addr.checked_sub(c.start).is_some_and(|o| o < c.size);
        // Walking from new to old, the chunk listed last is the likeliest.
        self.seen.iter().rev().find(inside).copied()
    }
}

impl FrameLayout {
    fn new(layout: &Layout) -> Result<Self, MissingField> {
        let previous = layout.need(Field::IframePrevious)?;
        let code = layout.need(Field::IframeExecutable)?;
        let instruction = layout.need(Field::IframeInstr)?;
        let owner = layout.need(Field::IframeOwner)?;
        let tlbc_index = layout.get(Field::IframeTlbcIndex);
        let last = (owner + 1)
            .max(previous + 8)
            .max(code + 8)
            .max(instruction + 8)
            .max(tlbc_index.unwrap_or(0) + 4);
        let internal = [Field::OwnerInterpreter, Field::OwnerCstack];
        let internal_owner = internal
            .into_iter()
            .filter_map(|field| layout.get(field))
            .min()
            .and_then(|value| u8::try_from(value).ok());
        Ok(Self {
            previous,
            code,
            instruction,
            owner,
            tlbc_index,
            internal_owner: internal_owner.unwrap_or(u8::MAX),
            span: last,
        })
    }

    fn decode(&self, addr: RemoteAddr, bytes: &[u8]) -> Option<Decoded> {
        let view = Bytes(bytes);
        let owner = view.u8(self.owner)?;
        let internal = owner >= self.internal_owner;
        let code = view.ptr(self.code)?.untagged(TAG_BITS);
        // A frame without code was cleared; the interpreter's own have none from 3.13 on.
        if code.is_null() && !internal {
            return None;
        }
        let copy = match self.tlbc_index {
            Some(offset) => view.u32(offset)?,
            None => 0,
        };
        Some(Decoded {
            frame: RawFrame {
                addr,
                code,
                position: Position::Instruction(view.ptr(self.instruction)?, copy),
            },
            previous: view.ptr(self.previous)?,
            internal,
        })
    }
}

/// Whether two walks saw the same stack. The newest frame may have moved on
/// within its code; a caller stands where it called.
fn coherent(one: &[Decoded], two: &[Decoded]) -> bool {
    let same = |(index, (a, b)): (usize, (&Decoded, &Decoded))| {
        let moved = index == 0 && a.frame.code == b.frame.code && a.frame.addr == b.frame.addr;
        a.previous == b.previous && a.internal == b.internal && (moved || a.frame == b.frame)
    };
    one.len() == two.len() && one.iter().zip(two).enumerate().all(same)
}
