use std::sync::Arc;
use std::time::Instant;

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use super::kept::Kept;
use super::layout::CodeLayout;
use super::resolved::{Proof, Resolved, Since};
use super::{CodeError, CodeObject, Place};
use crate::frames::{Position, RawFrame, RawStack};
use crate::layout::{Layout, MissingField};
use crate::runtime::Runtime;

/// Decoded code objects of one interpreter process.
///
/// An address alone does not identify a code object: it may be freed and
/// another one made in its place. So each entry keeps the bytes of the object
/// that it was decoded from (the pointers to its names, line table and
/// bytecode, and the version number where there is one).
///
/// From 3.13 on the interpreter counts code objects ([`CodeCounter`](crate::CodeCounter)): while
/// the count stands still, none was replaced, and nothing is read. It is read
/// after the frames and before what is decoded; whatever changes in between
/// changes the count that the next stack comes with. Where it has moved, and
/// always to 3.12, the bytes are compared with the target's, for a whole stack
/// in one scattered read.
#[derive(Debug)]
pub struct CodeCache {
    pub(super) objects: Layout,
    pub(super) layout: CodeLayout,
    pub(super) code_type: Option<RemoteAddr>,
    pub(super) entries: HashMap<RemoteAddr, Entry>,
    /// Each text once: thousands of code objects share a file name.
    pub(super) texts: HashMap<Arc<str>, ()>,
    pub(super) kept: Kept,
    pub(super) scratch: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) fingerprint: Box<[u8]>,
    pub(super) proof: Proof,
    pub(super) code: Arc<CodeObject>,
    /// The length of its bytecode in bytes.
    pub(super) len: u32,
    /// Copies of the bytecode of a free-threaded build, by index.
    pub(super) copies: Vec<RemoteAddr>,
    /// Whether a stack has had it since unused ones were dropped.
    pub(super) is_used: bool,
}

/// More copies than a process has threads.
const MAX_COPIES: u64 = 1 << 16;
/// What a `_PyCodeArray` or a line of addresses takes at most, in bytes.
const MAX_COPY_BYTES: usize = 8 << 16;

impl CodeCache {
    /// An empty cache for this runtime's code objects.
    ///
    /// # Errors
    /// [`MissingField`] if the layout lacks what decoding a code object needs.
    pub fn new(runtime: &Runtime) -> Result<Self, MissingField> {
        Ok(Self {
            objects: runtime.layout.clone(),
            layout: CodeLayout::new(&runtime.layout)?,
            code_type: runtime.code_type,
            entries: HashMap::new(),
            texts: HashMap::new(),
            kept: Kept::default(),
            scratch: Vec::new(),
        })
    }

    /// The number of code objects that are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The code object and the line of each frame, in the order of `stack`.
    ///
    /// # Errors
    /// [`CodeError`] of the first frame that cannot be resolved: such a stack
    /// was not read coherently, or is not one.
    pub fn resolve(
        &mut self,
        memory: &dyn Memory,
        stack: &RawStack,
    ) -> Result<Vec<Place>, CodeError> {
        let mut resolved = Resolved::default();
        self.update(memory, stack, &mut resolved)?;
        let mut places = resolved.places;
        places.reverse();
        Ok(places)
    }

    /// Brings `resolved`, the last stack of the same thread, up to date with
    /// `stack`. Returns how many of its oldest places are still what they were.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve); `resolved` is then empty.
    pub fn update(
        &mut self,
        memory: &dyn Memory,
        stack: &RawStack,
        resolved: &mut Resolved,
    ) -> Result<usize, CodeError> {
        self.drop_unused();
        let unchanged = self.unchanged(memory, stack, resolved)?;
        resolved.frames.truncate(unchanged);
        resolved.places.truncate(unchanged);
        let newest = stack.frames.len().saturating_sub(unchanged);
        for frame in stack.frames.iter().take(newest).rev() {
            let place = self.place(frame).inspect_err(|_| {
                *resolved = Resolved::default();
            })?;
            resolved.frames.push(*frame);
            resolved.places.push(place);
        }
        Ok(unchanged)
    }

    /// How many of the oldest places hold, all code objects of the stack being
    /// proved to be what the cache has when this returns.
    fn unchanged(
        &mut self,
        memory: &dyn Memory,
        stack: &RawStack,
        resolved: &mut Resolved,
    ) -> Result<usize, CodeError> {
        let pairs = stack.frames.iter().rev().zip(&resolved.frames);
        let same = pairs.take_while(|(now, before)| now == before).count();
        let since = Since::of(stack);
        let proved = resolved.proof.is_some_and(|proof| proof.holds(since));
        let newest = stack.frames.len() - same;
        let (changed, _) = stack.frames.split_at(newest);
        if proved {
            self.refresh(memory, changed, since)
                .inspect_err(|_| *resolved = Resolved::default())?;
            return Ok(same);
        }
        let proof = self
            .refresh(memory, &stack.frames, since)
            .inspect_err(|_| *resolved = Resolved::default())?;
        resolved.proof = proof;
        let holds = |(frame, place): &(&RawFrame, &Place)| {
            let entry = self.entries.get(&frame.code);
            entry.is_some_and(|entry| Arc::ptr_eq(&entry.code, &place.code))
        };
        let places = resolved.frames.iter().zip(&resolved.places);
        Ok(places.take(same).take_while(holds).count())
    }

    /// Where a frame stands that was resolved before, and is known better now; `None` if
    /// its code object is not the same any more.
    pub fn place_later(&self, before: &Place, frame: &RawFrame) -> Option<Place> {
        let entry = self.entries.get(&frame.code)?;
        let is_same = Arc::ptr_eq(&entry.code, &before.code);
        self.place(frame).ok().filter(|_| is_same)
    }

    fn place(&self, frame: &RawFrame) -> Result<Place, CodeError> {
        let entry = self.entries.get(&frame.code);
        let entry = entry.ok_or(CodeError::NotCode(frame.code))?;
        let line = self.line(entry, frame)?;
        Ok(Place {
            code: Arc::clone(&entry.code),
            line,
        })
    }

    /// Makes the entries of all these frames match the target's memory now;
    /// the proof of the one that was looked at longest ago, if there is any.
    fn refresh(
        &mut self,
        memory: &dyn Memory,
        frames: &[RawFrame],
        since: Since,
    ) -> Result<Option<Proof>, CodeError> {
        let counter = since.counter();
        let mut oldest: Option<Instant> = None;
        let mut codes = Vec::new();
        for frame in frames {
            let known = self.entries.get_mut(&frame.code).map(|entry| {
                entry.is_used = true;
                entry.proof
            });
            match known {
                Some(known) if known.holds(since) => {
                    oldest = Some(oldest.map_or(known.at, |at| at.min(known.at)));
                }
                _ => codes.push(frame.code),
            }
        }
        if !codes.is_empty() {
            codes.sort_unstable();
            codes.dedup();
            let now = Proof {
                codes: counter,
                at: Instant::now(),
            };
            self.compare(memory, &codes, now)?;
            oldest = oldest.or(Some(now.at));
        }
        let copied =
            |frame: &&RawFrame| matches!(frame.position, Position::Instruction(_, n) if n > 0);
        for frame in frames.iter().filter(copied) {
            self.refresh_copies(memory, frame)?;
        }
        Ok(oldest.map(|at| Proof { codes: counter, at }))
    }

    /// Reads where the copies of a code object's bytecode are, if `frame`
    /// stands in one that is not known yet.
    fn refresh_copies(&mut self, memory: &dyn Memory, frame: &RawFrame) -> Result<(), CodeError> {
        let (Some(offsets), Position::Instruction(_, wanted)) =
            (self.layout.copies, frame.position)
        else {
            return Ok(());
        };
        let Some(entry) = self.entries.get_mut(&frame.code) else {
            return Ok(());
        };
        // An array only grows, and a copy stays where it is while code runs in it.
        let known = entry.copies.get(wanted as usize);
        if known.is_some_and(|copy| !copy.is_null()) {
            return Ok(());
        }
        let array = memory.read_ptr(frame.code.offset(offsets.array as u64))?;
        let count = memory.read_u64(array.offset(offsets.size as u64))?;
        if count > MAX_COPIES {
            return Err(CodeError::OutsideCode(frame.code));
        }
        let start = array.offset(offsets.entries as u64);
        let bytes = memory.read_vec(start, count * 8, MAX_COPY_BYTES)?;
        entry.copies = bytes
            .chunks_exact(8)
            .map(|word| Bytes(word).ptr(0).unwrap_or_default())
            .collect();
        Ok(())
    }

    fn line(&self, entry: &Entry, frame: &RawFrame) -> Result<Option<u32>, CodeError> {
        let code = &entry.code;
        let outside = CodeError::OutsideCode(frame.code);
        match frame.position {
            Position::Offset(offset) => match u32::try_from(offset) {
                Ok(offset) if offset >= entry.len => Err(outside),
                Ok(offset) => Ok(code.lines.line_at(offset)),
                // Not begun yet.
                Err(_) => Ok(Some(code.first_line)),
            },
            Position::AnyCall => Ok(None),
            Position::Instruction(instruction, copy) => {
                let own = frame
                    .code
                    .offset(self.layout.bytecode.ok_or(outside)? as u64);
                let start = match copy {
                    0 => own,
                    _ => *entry.copies.get(copy as usize).ok_or(outside)?,
                };
                // To 3.12 a new frame stands one code unit before the first
                // (`_PyFrame_Initialize`, `Include/internal/pycore_frame.h`).
                if instruction.offset(2) == start {
                    return Ok(Some(code.first_line));
                }
                let offset = instruction
                    .checked_sub(start)
                    .and_then(|offset| u32::try_from(offset).ok())
                    .filter(|offset| *offset < entry.len)
                    .ok_or(outside)?;
                Ok(code.lines.line_at(offset))
            }
        }
    }
}
