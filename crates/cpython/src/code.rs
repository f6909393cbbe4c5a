//! Code objects: decoded once, cached by address, and checked at each use.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use firefinch_memory::{Bytes, Memory, Range, ReadError, RemoteAddr};

use crate::frames::{CodeCounter, Position, RawFrame, RawStack, TRUSTED};
use crate::layout::{Field, Layout, MissingField};
use crate::lines::{LineEncoding, LineTable};
use crate::object::{ObjectError, Objects};
use crate::runtime::Runtime;

/// What a code object says about its function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    /// `co_name`
    pub name: Arc<str>,
    /// `co_qualname`, from 3.11 on: with its classes and enclosing functions.
    pub qualified_name: Option<Arc<str>>,
    /// `co_filename`, as the compiler was given it.
    pub filename: Arc<str>,
    /// `co_firstlineno`
    pub first_line: u32,
    lines: LineTable,
}

/// Where a frame stands, in the source's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function.
    pub code: Arc<CodeObject>,
    /// The line, or `None` at an instruction that belongs to none.
    pub line: Option<u32>,
}

/// Why the code object of a frame could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// There is no code object at the address.
    NotCode(RemoteAddr),
    /// The frame stands at an instruction that its code does not have.
    OutsideCode(RemoteAddr),
    /// A part of it could not be decoded.
    Object(ObjectError),
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCode(addr) => write!(f, "no code object at {addr}"),
            Self::OutsideCode(addr) => write!(f, "an instruction outside the code at {addr}"),
            Self::Object(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CodeError {}

impl From<ObjectError> for CodeError {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl From<ReadError> for CodeError {
    fn from(error: ReadError) -> Self {
        Self::Object(error.into())
    }
}

/// A thread's stack in the source's terms, kept from one look at the thread to
/// the next, so that what has not changed is not resolved again.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Oldest first, as long as the places.
    frames: Vec<RawFrame>,
    places: Vec<Place>,
    proof: Option<Proof>,
}

impl Resolved {
    /// Where each frame stands, oldest first.
    pub fn places(&self) -> &[Place] {
        &self.places
    }
}

/// Since when a code object is known to be the one that was decoded.
#[derive(Clone, Copy, Debug)]
struct Proof {
    codes: Option<CodeCounter>,
    at: Instant,
}

impl Proof {
    /// Whether it holds for a stack that was read now.
    fn holds(self, codes: Option<CodeCounter>) -> bool {
        match codes {
            Some(codes) => self.codes == Some(codes),
            None => self.at.elapsed() < TRUSTED,
        }
    }
}

/// Decoded code objects of one interpreter process.
///
/// An address alone does not identify a code object: it may be freed and
/// another one made in its place. So each entry keeps the bytes of the object
/// that it was decoded from (the pointers to its names, line table and
/// bytecode, and the version number where there is one).
///
/// From 3.13 on the interpreter counts code objects ([`CodeCounter`]): while
/// the count stands still, none was replaced, and nothing is read. It is read
/// after the frames and before what is decoded; whatever changes in between
/// changes the count that the next stack comes with. Where it has moved, and
/// always to 3.12, the bytes are compared with the target's, for a whole stack
/// in one scattered read.
#[derive(Debug)]
pub struct CodeCache {
    objects: Layout,
    layout: CodeLayout,
    code_type: Option<RemoteAddr>,
    entries: HashMap<RemoteAddr, Entry>,
    /// Each text once: thousands of code objects share a file name.
    texts: HashMap<Arc<str>, ()>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Box<[u8]>,
    proof: Proof,
    code: Arc<CodeObject>,
    /// Copies of the bytecode of a free-threaded build, by index.
    copies: Vec<RemoteAddr>,
}

#[derive(Clone, Debug)]
struct CodeLayout {
    object_type: usize,
    type_name: usize,
    filename: usize,
    name: usize,
    qualified_name: Option<usize>,
    first_line: usize,
    line_table: usize,
    /// From 3.11 on the bytecode follows the object.
    bytecode: Option<usize>,
    copies: Option<Copies>,
    encoding: LineEncoding,
    /// The bytes that are read and compared.
    first: usize,
    span: usize,
}

/// Per-thread copies of the bytecode (`_PyCodeArray`, `Include/cpython/code.h`,
/// free-threaded builds from 3.14 on).
#[derive(Clone, Copy, Debug)]
struct Copies {
    array: usize,
    size: usize,
    entries: usize,
}

/// More copies than a process has threads.
const MAX_COPIES: u64 = 1 << 16;
/// Code objects that begin this close to one another, in bytes, are copied together.
const NEAR: u64 = 2048;
/// What a `_PyCodeArray` or a line of addresses takes at most, in bytes.
const MAX_COPY_BYTES: usize = 8 << 16;

impl CodeLayout {
    fn new(layout: &Layout) -> Result<Self, MissingField> {
        let object_type = layout.need(Field::ObjectType)?;
        let filename = layout.need(Field::CodeFilename)?;
        let name = layout.need(Field::CodeName)?;
        let qualified_name = layout.get(Field::CodeQualname);
        let first_line = layout.need(Field::CodeFirstlineno)?;
        let line_table = layout.need(Field::CodeLinetable)?;
        let copies = match layout.get(Field::CodeTlbc) {
            Some(array) => Some(Copies {
                array,
                size: layout.need(Field::TlbcSize)?,
                entries: layout.need(Field::TlbcEntries)?,
            }),
            None => None,
        };
        let compared = [
            Some(object_type),
            Some(filename),
            Some(name),
            qualified_name,
            Some(first_line),
            Some(line_table),
            layout.get(Field::CodeVersion),
            layout.get(Field::CodeCode),
            layout.get(Field::CodeConsts),
        ];
        let first = compared.iter().flatten().min().copied().unwrap_or(0);
        let last = compared.iter().flatten().max().copied().unwrap_or(0);
        Ok(Self {
            object_type,
            type_name: layout.need(Field::TypeName)?,
            filename,
            name,
            qualified_name,
            first_line,
            line_table,
            bytecode: layout.get(Field::CodeAdaptive),
            copies,
            encoding: LineEncoding::of(layout),
            first,
            span: last + 8 - first,
        })
    }
}

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
            scratch: Vec::new(),
        })
    }

    /// The number of code objects decoded so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has been decoded yet.
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
        let proved = resolved.proof.is_some_and(|proof| proof.holds(stack.codes));
        let newest = stack.frames.len() - same;
        let (changed, _) = stack.frames.split_at(newest);
        if proved {
            self.refresh(memory, changed, stack.codes)
                .inspect_err(|_| *resolved = Resolved::default())?;
            return Ok(same);
        }
        let proof = self
            .refresh(memory, &stack.frames, stack.codes)
            .inspect_err(|_| *resolved = Resolved::default())?;
        resolved.proof = Some(proof);
        let holds = |(frame, place): &(&RawFrame, &Place)| {
            let entry = self.entries.get(&frame.code);
            entry.is_some_and(|entry| Arc::ptr_eq(&entry.code, &place.code))
        };
        let places = resolved.frames.iter().zip(&resolved.places);
        Ok(places.take(same).take_while(holds).count())
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
    /// the proof of the one that was looked at longest ago.
    fn refresh(
        &mut self,
        memory: &dyn Memory,
        frames: &[RawFrame],
        counter: Option<CodeCounter>,
    ) -> Result<Proof, CodeError> {
        let now = Proof {
            codes: counter,
            at: Instant::now(),
        };
        let mut proof = now;
        let mut codes = Vec::new();
        for frame in frames {
            match self.entries.get(&frame.code).map(|entry| entry.proof) {
                Some(known) if known.holds(counter) => proof.at = proof.at.min(known.at),
                _ => codes.push(frame.code),
            }
        }
        if !codes.is_empty() {
            codes.sort_unstable();
            codes.dedup();
            self.compare(memory, &codes, now)?;
        }
        let copied =
            |frame: &&RawFrame| matches!(frame.position, Position::Instruction(_, n) if n > 0);
        for frame in frames.iter().filter(copied) {
            self.refresh_copies(memory, frame)?;
        }
        Ok(proof)
    }

    /// Compares these code objects, in the order of their addresses, with what
    /// they were decoded from, and decodes those that are new.
    fn compare(
        &mut self,
        memory: &dyn Memory,
        codes: &[RemoteAddr],
        now: Proof,
    ) -> Result<(), CodeError> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.copy(memory, codes, &mut scratch).and_then(|()| {
            let bytes = scratch.chunks_exact(self.layout.span);
            for (code, bytes) in codes.iter().zip(bytes) {
                match self.entries.get_mut(code) {
                    Some(entry) if *entry.fingerprint == *bytes => entry.proof = now,
                    _ => {
                        let entry = self.decode(memory, *code, bytes, now)?;
                        self.entries.insert(*code, entry);
                    }
                }
            }
            Ok(())
        });
        self.scratch = scratch;
        done
    }

    /// Copies what identifies each code object. Objects made together lie
    /// together, and a range of a page costs no more than one of a few bytes.
    fn copy(
        &self,
        memory: &dyn Memory,
        codes: &[RemoteAddr],
        scratch: &mut Vec<u8>,
    ) -> Result<(), CodeError> {
        let span = self.layout.span;
        let start = |code: &RemoteAddr| code.offset(self.layout.first as u64);
        let near = |a: &RemoteAddr, b: &RemoteAddr| {
            let between = b.checked_sub(*a);
            between.is_some_and(|between| between < NEAR)
        };
        let groups: Vec<&[RemoteAddr]> = codes.chunk_by(near).collect();
        let lens = groups.iter().map(|group| {
            let reach = group.first().zip(group.last());
            let reach = reach.and_then(|(first, last)| last.checked_sub(*first));
            usize::try_from(reach.unwrap_or(0)).unwrap_or(0) + span
        });
        let lens: Vec<usize> = lens.collect();
        let mut bytes = vec![0; lens.iter().sum()];
        let mut rest = bytes.as_mut_slice();
        let mut ranges = Vec::with_capacity(groups.len());
        for (group, len) in groups.iter().zip(&lens) {
            let (buf, after) = rest.split_at_mut(*len);
            rest = after;
            let addr = group.first().map(start).unwrap_or_default();
            ranges.push(Range { addr, buf });
        }
        let done = memory.read_scattered(&mut ranges);
        scratch.clear();
        scratch.resize(codes.len() * span, 0);
        let mut slots = scratch.chunks_exact_mut(span);
        let mut group_bytes = bytes.as_slice();
        for (index, (group, len)) in groups.iter().zip(&lens).enumerate() {
            let (copied, after) = group_bytes.split_at(*len);
            group_bytes = after;
            let first = group.first().copied().unwrap_or_default();
            for (code, slot) in group.iter().zip(&mut slots) {
                let skip = code.checked_sub(first);
                let skip = skip.and_then(|skip| usize::try_from(skip).ok());
                let found = skip.and_then(|skip| Bytes(copied).slice(skip, span));
                match found.filter(|_| index < done) {
                    Some(found) => slot.copy_from_slice(found),
                    // Between two of them there may be a gap.
                    None => memory
                        .read(start(code), slot)
                        .map_err(|_| CodeError::NotCode(*code))?,
                }
            }
        }
        Ok(())
    }

    fn decode(
        &mut self,
        memory: &dyn Memory,
        code: RemoteAddr,
        bytes: &[u8],
        proof: Proof,
    ) -> Result<Entry, CodeError> {
        let not_code = CodeError::NotCode(code);
        let offsets = self.layout.clone();
        let view = Bytes(bytes);
        let pointer = |offset: usize| view.ptr(offset - offsets.first).ok_or(not_code);
        self.check_type(memory, code, pointer(offsets.object_type)?)?;
        let layout = self.objects.clone();
        let objects = Objects::new(memory, &layout);
        let name = objects.text(pointer(offsets.name)?)?;
        let filename = objects.text(pointer(offsets.filename)?)?;
        let qualified_name = match offsets.qualified_name {
            Some(offset) => Some(self.share(objects.text(pointer(offset)?)?)),
            None => None,
        };
        let first_line = view
            .i32(offsets.first_line - offsets.first)
            .ok_or(not_code)?;
        // A generated function may claim a first line of zero or less.
        let first_line = u32::try_from(first_line).unwrap_or(0);
        let table = objects.bytes(pointer(offsets.line_table)?)?;
        Ok(Entry {
            fingerprint: bytes.into(),
            proof,
            code: Arc::new(CodeObject {
                name: self.share(name),
                qualified_name,
                filename: self.share(filename),
                first_line,
                lines: LineTable::decode(offsets.encoding, &table, first_line),
            }),
            copies: Vec::new(),
        })
    }

    /// `kind` must be the type named "code"; it is the same for all.
    fn check_type(
        &mut self,
        memory: &dyn Memory,
        code: RemoteAddr,
        kind: RemoteAddr,
    ) -> Result<(), CodeError> {
        if self.code_type == Some(kind) {
            return Ok(());
        }
        let name = memory.read_ptr(kind.offset(self.layout.type_name as u64))?;
        let mut text = [0; 5];
        memory.read(name, &mut text)?;
        if &text != b"code\0" {
            return Err(CodeError::NotCode(code));
        }
        self.code_type = Some(kind);
        Ok(())
    }

    fn share(&mut self, text: String) -> Arc<str> {
        if let Some((known, ())) = self.texts.get_key_value(text.as_str()) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text), ());
        text
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
                Ok(offset) => Ok(code.lines.line_at(offset)),
                // Not begun yet.
                Err(_) => Ok(Some(code.first_line)),
            },
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
                    .filter(|offset| *offset < code.lines.code_len())
                    .ok_or(outside)?;
                Ok(code.lines.line_at(offset))
            }
        }
    }
}
