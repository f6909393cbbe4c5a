use std::borrow::Cow;
use std::collections::HashMap;

use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::ChunkLayout;
use crate::frames::{MAX_FRAMES, StackError};

/// The chunks of one thread, listed and copied only as far as frames need them.
#[derive(Debug)]
pub(super) struct Chunks {
    layout: ChunkLayout,
    listed: Vec<Chunk>,
    next: RemoteAddr,
    copies: Vec<Copy>,
}

/// One chunk of the data stack.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    start: RemoteAddr,
    /// In bytes, with its header.
    size: u64,
}

/// A part of a chunk, from its start, copied in one read.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) start: RemoteAddr,
    pub(super) bytes: Vec<u8>,
}

/// Chunks start at 16 KiB and double until a frame fits (`push_chunk`,
/// `Python/pystate.c`); a frame has at most a few million locals.
const MAX_CHUNK: u64 = 64 << 20;
/// Chunks whose size is remembered, as many as threads at least.
const MAX_SIZES: usize = 1 << 16;
/// Copied beyond the frame that was current a moment ago: a few calls more.
const MARGIN: u64 = 512;

impl Chunks {
    pub(super) fn new(layout: ChunkLayout, newest: RemoteAddr) -> Self {
        Self {
            layout,
            listed: Vec::new(),
            next: newest,
            copies: Vec::new(),
        }
    }

    /// Copies the newest chunk in one read, from its start to beyond `frame`;
    /// says whether `frame` lies in it.
    pub(super) fn copy_newest(
        &mut self,
        memory: &dyn Memory,
        frame: RemoteAddr,
        span: usize,
        sizes: &mut HashMap<RemoteAddr, u64>,
    ) -> Result<bool, StackError> {
        let start = self.next;
        if start.is_null() {
            return Ok(false);
        }
        let size = match sizes.get(&start) {
            Some(size) => *size,
            None => {
                let size = memory.read_u64(start.offset(self.layout.size as u64))?;
                if sizes.len() >= MAX_SIZES {
                    sizes.clear();
                }
                sizes.insert(start, size);
                size
            }
        };
        let inside = |offset: &u64| *offset < size.min(MAX_CHUNK);
        let Some(offset) = frame.checked_sub(start).filter(inside) else {
            return Ok(false);
        };
        let wanted = offset.saturating_add(span as u64);
        let len = (wanted + MARGIN).next_multiple_of(64).min(
            // Within the page of the last frame there is nothing unmapped.
            (start.get() + wanted).next_multiple_of(4096) - start.get(),
        );
        let limit = usize::try_from(MAX_CHUNK).unwrap_or(usize::MAX);
        let Ok(bytes) = memory.read_vec(start, len, limit) else {
            return Ok(false);
        };
        let view = Bytes(&bytes);
        let (Some(size), Some(previous)) =
            (view.u64(self.layout.size), view.ptr(self.layout.previous))
        else {
            return Ok(false);
        };
        if size > MAX_CHUNK || wanted > size {
            // Another chunk lies there now.
            sizes.remove(&start);
            return Ok(false);
        }
        self.listed.push(Chunk { start, size });
        self.next = previous;
        self.copies.push(Copy { start, bytes });
        Ok(true)
    }

    /// The copy made by [`copy_newest`](Self::copy_newest).
    pub(super) fn newest(&self) -> Option<&Copy> {
        self.copies.first()
    }

    /// Where the first frame of the newest chunk is: the very first chunk
    /// leaves its first word unused (`push_chunk`).
    pub(super) fn first_frame(&self) -> Option<RemoteAddr> {
        let chunk = self.listed.first()?;
        let skip = if self.next.is_null() { 8 } else { 0 };
        Some(chunk.start.offset(self.layout.data as u64 + skip))
    }

    /// The bytes of the frame at `addr`: of a copy of its chunk, made now if
    /// need be, or read by itself if it lies in none.
    pub(super) fn frame(
        &mut self,
        memory: &dyn Memory,
        addr: RemoteAddr,
        span: usize,
    ) -> Result<Cow<'_, [u8]>, StackError> {
        if !self.is_copied(addr, span) && !self.copy(memory, addr, span)? {
            let mut bytes = vec![0; span];
            memory.read(addr, &mut bytes)?;
            return Ok(Cow::Owned(bytes));
        }
        let bytes = self.copies.iter().rev().find_map(|c| c.slice(addr, span));
        bytes.map(Cow::Borrowed).ok_or(StackError::Garbage(addr))
    }

    fn is_copied(&self, addr: RemoteAddr, span: usize) -> bool {
        // Walking from new to old, the copy made last is the likeliest.
        self.copies
            .iter()
            .rev()
            .any(|c| c.slice(addr, span).is_some())
    }

    /// Copies the chunk that holds `addr` up to that frame; `false` if none does.
    fn copy(
        &mut self,
        memory: &dyn Memory,
        addr: RemoteAddr,
        span: usize,
    ) -> Result<bool, StackError> {
        loop {
            let inside = |c: &&Chunk| addr.checked_sub(c.start).is_some_and(|o| o < c.size);
            if let Some(chunk) = self.listed.iter().rev().find(inside) {
                let start = chunk.start;
                let used = addr.checked_sub(start).unwrap_or(0) + span as u64;
                let limit = usize::try_from(MAX_CHUNK).unwrap_or(usize::MAX);
                let bytes = memory.read_vec(start, used, limit)?;
                self.copies.push(Copy { start, bytes });
                return Ok(true);
            }
            if self.next.is_null() {
                return Ok(false);
            }
            let start = self.next;
            let size = memory.read_u64(start.offset(self.layout.size as u64))?;
            let previous = memory.read_ptr(start.offset(self.layout.previous as u64))?;
            if size > MAX_CHUNK || self.listed.len() > MAX_FRAMES {
                return Err(StackError::Garbage(start));
            }
            self.listed.push(Chunk { start, size });
            self.next = previous;
        }
    }
}

impl Copy {
    /// `span` bytes at `addr`, if they were copied.
    pub(super) fn slice(&self, addr: RemoteAddr, span: usize) -> Option<&[u8]> {
        let offset = usize::try_from(addr.checked_sub(self.start)?).ok()?;
        Bytes(&self.bytes).slice(offset, span)
    }
}
