use std::collections::BTreeMap;

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use crate::frames::{GENERATOR, Position, RawFrame};
use crate::layout::{Field, Layout, MissingField};

/// Where the parts of a frame are that tell what it is.
#[derive(Clone, Debug)]
pub(super) struct FrameLayout {
    previous: usize,
    code: usize,
    instruction: usize,
    owner: usize,
    /// To 3.13: −1 while the frame executes.
    stack_top: Option<usize>,
    /// 3.11: an evaluation loop of its own began with this frame.
    is_entry: Option<usize>,
    tlbc_index: Option<usize>,
    function: usize,
    locals: usize,
    /// Owners from this value on are the interpreter's own frames.
    internal_owner: u8,
    /// There is none beyond this one.
    last_owner: usize,
    /// The owner of frames in chunks.
    thread_owner: usize,
    /// The bytes of a frame that hold all of the above.
    pub(super) span: usize,
}

/// One frame, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) frame: RawFrame,
    pub(super) previous: RemoteAddr,
    /// The interpreter's own: it runs no Python code and is not shown.
    pub(super) internal: bool,
    /// It lies in a chunk of its thread, or says so.
    pub(super) in_chunk: bool,
    /// Its instructions are being executed now; never known from 3.14 on.
    pub(super) executing: bool,
    /// It waits for what it called, to 3.13; a cleared one has nothing on its stack.
    pub(super) calling: bool,
    /// C code called it, in 3.11; later such a frame's caller is an entry
    /// frame on the C stack.
    pub(super) entry: bool,
    /// It has returned, from 3.14 on: its code was found by where it stands.
    pub(super) popped: bool,
    /// It runs code of the interpreter's own, between a class that is called and
    /// its constructor.
    pub(super) helper: bool,
}

impl Decoded {
    /// Whether it has returned, from 3.14 on; the interpreter's own have no code
    /// from 3.13 on.
    pub(super) fn is_cleared(&self) -> bool {
        self.frame.code.is_null() && !self.internal
    }

    /// Whether it runs in the evaluation loop of the frame that `previous` names.
    pub(super) fn shares_loop(&self) -> bool {
        !self.internal && !self.entry
    }
}

/// More than the bytes of a frame before its locals.
pub(super) const MAX_HEADER: usize = 256;

/// Code objects are aligned to 16 bytes; what is below is a reference's tag
/// (`Include/internal/pycore_stackref.h`, from 3.14 on).
const TAG_BITS: u32 = 3;

impl FrameLayout {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let previous = layout.need(Field::IframePrevious)?;
        let code = layout.need(Field::IframeExecutable)?;
        let instruction = layout.need(Field::IframeInstr)?;
        let owner = layout.need(Field::IframeOwner)?;
        let stack_top = layout.get(Field::IframeStacktop);
        let is_entry = layout.get(Field::IframeIsEntry);
        let tlbc_index = layout.get(Field::IframeTlbcIndex);
        let function = layout.need(Field::IframeFunction)?;
        let span = (owner + 1)
            .max(function + 8)
            .max(previous + 8)
            .max(code + 8)
            .max(instruction + 8)
            .max(stack_top.unwrap_or(0) + 4)
            .max(is_entry.unwrap_or(0) + 1)
            .max(tlbc_index.unwrap_or(0) + 4);
        let internal_owner = [Field::OwnerInterpreter, Field::OwnerCstack]
            .into_iter()
            .filter_map(|field| layout.get(field))
            .min()
            .and_then(|value| u8::try_from(value).ok());
        let owners = [
            Field::OwnerThread,
            Field::OwnerGenerator,
            Field::OwnerFrameObject,
            Field::OwnerInterpreter,
            Field::OwnerCstack,
        ];
        let owners = owners.into_iter().filter_map(|owner| layout.get(owner));
        Ok(Self {
            last_owner: owners.max().unwrap_or(usize::from(u8::MAX)),
            previous,
            code,
            instruction,
            owner,
            stack_top,
            is_entry,
            tlbc_index,
            function,
            locals: layout.need(Field::IframeLocalsplus)?,
            internal_owner: internal_owner.unwrap_or(u8::MAX),
            thread_owner: layout.need(Field::OwnerThread)?,
            span,
        })
    }

    /// Whether an executing frame can be told by a mark of its own.
    pub(super) fn marks_executing(&self) -> bool {
        self.stack_top.is_some()
    }

    /// Whether one that has returned has nothing on its stack (from 3.12 on:
    /// `_PyFrame_ClearExceptCode`, `Python/frame.c`).
    pub(super) fn clears_height(&self) -> bool {
        self.is_entry.is_none()
    }

    /// Whether a frame of the data stack had not returned when it was copied, for
    /// certain. In 3.11 those that have look as if they waited.
    pub(super) fn lives(&self, frame: &Decoded) -> bool {
        let waits = match self.marks_executing() {
            true => frame.calling && self.clears_height(),
            false => !frame.popped,
        };
        frame.in_chunk && (frame.executing || waits)
    }

    /// Whether the oldest frame of each loop names an entry frame as its caller,
    /// from 3.12 on.
    pub(super) fn has_entry_frames(&self) -> bool {
        self.is_entry.is_none()
    }

    /// Where a frame's locals and stack begin, from its own beginning.
    pub(super) fn locals(&self) -> usize {
        self.locals
    }

    /// The function object that a frame runs.
    pub(super) fn function(&self, bytes: &[u8]) -> Option<RemoteAddr> {
        self.reference(bytes.get(self.function..)?)
    }

    /// The object that a slot refers to.
    pub(super) fn reference(&self, slot: &[u8]) -> Option<RemoteAddr> {
        Some(Bytes(slot).ptr(0)?.untagged(TAG_BITS))
    }

    /// The frame at `addr`, whose bytes these are.
    pub(super) fn decode(&self, addr: RemoteAddr, bytes: &[u8]) -> Option<Decoded> {
        let view = Bytes(bytes);
        let owner = view.u8(self.owner)?;
        if usize::from(owner) > self.last_owner {
            return None;
        }
        let internal = owner >= self.internal_owner;
        let code = view.ptr(self.code)?.untagged(TAG_BITS);
        let copy = match self.tlbc_index {
            Some(offset) => view.u32(offset)?,
            None => 0,
        };
        let (executing, calling) = match self.stack_top {
            Some(offset) => {
                let top = view.i32(offset)?;
                (top == -1, top > 0)
            }
            None => (false, false),
        };
        let entry = match self.is_entry {
            Some(offset) => view.u8(offset)? != 0,
            None => false,
        };
        Some(Decoded {
            entry,
            frame: RawFrame {
                addr,
                code,
                position: Position::Instruction(view.ptr(self.instruction)?, copy),
            },
            previous: view.ptr(self.previous)?,
            internal,
            in_chunk: usize::from(owner) == self.thread_owner,
            executing,
            calling,
            popped: false,
            helper: false,
        })
    }
}

/// What code objects say about their frames.
#[derive(Debug)]
pub(super) struct Shapes {
    object_type: usize,
    type_name: usize,
    /// `PyCode_Type`, once seen.
    code_type: Option<RemoteAddr>,
    size: SizeLayout,
    /// `co_nlocalsplus`.
    locals: usize,
    file: usize,
    name: usize,
    flags: usize,
    /// `ob_size`: the number of code units.
    units: usize,
    /// Where the bytecode begins within the object.
    bytecode: usize,
    known: HashMap<RemoteAddr, Shape>,
    /// The code objects met, by the address of their first instruction.
    by_first: BTreeMap<RemoteAddr, RemoteAddr>,
}

/// What one code object says about its frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// How large they are, in bytes.
    pub(super) size: u64,
    /// The address of the first instruction.
    first: RemoteAddr,
    /// The length of the bytecode in bytes.
    len: u64,
    /// The interpreter made it for itself.
    pub(super) helper: bool,
    /// They lie in generators. In the data stack such a frame only makes one, and is
    /// left there as if it lived (`RETURN_GENERATOR`, `Python/bytecodes.c`).
    pub(super) generator: bool,
}

#[derive(Debug)]
enum SizeLayout {
    /// `co_framesize`, from 3.12 on.
    Stored(usize),
    /// `co_nlocalsplus + co_stacksize` and the frame's own words: 3.11
    /// (`_PyEvalFramePushAndInit`, `Python/ceval.c`).
    Computed { stack: usize, own: u64 },
}

/// Words; a function with more locals and stack than this is no function.
const MAX_FRAME: u64 = 1 << 21;

/// No function has more bytecode, in bytes.
const MAX_BYTECODE: u64 = 1 << 28;
/// Bytes of a code unit (`_Py_CODEUNIT`).
const CODE_UNIT: u64 = 2;
/// The code between a class and its constructor, `_Py_InitCleanup`
/// (`Python/specialize.c`, from 3.12 on), has so many code units at most, and
/// names itself as its file. No code of a program that calls anything is as short.
const HELPER_UNITS: u64 = 4;

impl Shape {
    /// Whether a frame that stands there can be one of this code object. A
    /// frame that is just being pushed may still hold the instruction of the
    /// one that lay there before.
    pub(super) fn has(&self, position: Position) -> bool {
        match position {
            // To 3.12 a new frame stands one unit before the first.
            Position::Instruction(at, 0) => {
                let offset = at.offset(CODE_UNIT).checked_sub(self.first);
                offset.is_some_and(|offset| offset < self.len + CODE_UNIT)
            }
            // Copies of the bytecode are elsewhere.
            Position::Instruction(..) => true,
            Position::Offset(_) | Position::AnyCall => false,
        }
    }
}

impl Shapes {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let size = match layout.get(Field::CodeFramesize) {
            Some(stored) => SizeLayout::Stored(stored),
            None => SizeLayout::Computed {
                stack: layout.need(Field::CodeStacksize)?,
                // FRAME_SPECIALS_SIZE: the struct ends with its first local.
                own: (layout.need(Field::IframeSize)? as u64).saturating_sub(1) / 8,
            },
        };
        Ok(Self {
            size,
            object_type: layout.need(Field::ObjectType)?,
            type_name: layout.need(Field::TypeName)?,
            code_type: None,
            locals: layout.need(Field::CodeNlocalsplus)?,
            file: layout.need(Field::CodeFilename)?,
            name: layout.need(Field::CodeName)?,
            flags: layout.need(Field::CodeFlags)?,
            units: layout.need(Field::VarSize)?,
            bytecode: layout.need(Field::CodeAdaptive)?,
            known: HashMap::new(),
            by_first: BTreeMap::new(),
        })
    }

    /// The code object, of those met so far, in which a frame stands: one that
    /// has returned keeps its place when its code is cleared.
    pub(super) fn code_at(&self, position: Position) -> Option<RemoteAddr> {
        let Position::Instruction(at, 0) = position else {
            return None;
        };
        let (_, code) = self.by_first.range(..=at).next_back()?;
        let shape = self.known.get(code)?;
        shape.has(position).then_some(*code)
    }

    /// Whether a frame stands where it can if that is its code object.
    pub(super) fn may_have(&self, frame: &RawFrame) -> bool {
        let Position::Instruction(at, 0) = frame.position else {
            return true;
        };
        let first = frame.code.offset(self.bytecode as u64);
        let offset = at.offset(CODE_UNIT).checked_sub(first);
        offset.is_some_and(|offset| offset <= MAX_BYTECODE)
    }

    /// Whether there is a code object at `code`.
    fn is_code(&mut self, memory: &dyn Memory, code: RemoteAddr) -> Option<bool> {
        let kind = memory.read_ptr(code.offset(self.object_type as u64)).ok()?;
        if let Some(known) = self.code_type {
            return Some(kind == known);
        }
        let name = memory.read_ptr(kind.offset(self.type_name as u64)).ok()?;
        let mut text = [0; 5];
        memory.read(name, &mut text).ok()?;
        let is_code = &text == b"code\0";
        if is_code {
            self.code_type = Some(kind);
        }
        Some(is_code)
    }

    /// Whether the frame runs code that the interpreter made for itself.
    pub(super) fn is_helper(&mut self, memory: &dyn Memory, frame: &RawFrame) -> bool {
        let Position::Instruction(at, 0) = frame.position else {
            return false;
        };
        // Few other frames stand at the very beginning of their code.
        let first = frame.code.offset(self.bytecode as u64);
        let begins = at
            .checked_sub(first)
            .is_some_and(|at| at <= HELPER_UNITS * CODE_UNIT);
        begins
            && self
                .get(memory, frame.code)
                .is_some_and(|shape| shape.helper)
    }

    /// The shape of the frames of `code`; `None` if that is no code object, as
    /// what looks like a frame may be something else.
    pub(super) fn get(&mut self, memory: &dyn Memory, code: RemoteAddr) -> Option<Shape> {
        if let Some(shape) = self.known.get(&code) {
            return Some(*shape);
        }
        if !self.is_code(memory, code)? {
            return None;
        }
        let word = |offset: usize| memory.read_u32(code.offset(offset as u64)).ok();
        let words = match self.size {
            SizeLayout::Stored(offset) => u64::from(word(offset)?),
            SizeLayout::Computed { stack, own } => {
                u64::from(word(self.locals)?) + u64::from(word(stack)?) + own
            }
        };
        if words == 0 || words > MAX_FRAME {
            return None;
        }
        let units = u64::from(word(self.units)?);
        let pointer = |offset: usize| memory.read_ptr(code.offset(offset as u64)).ok();
        let shape = Shape {
            size: words * 8,
            first: code.offset(self.bytecode as u64),
            len: units * CODE_UNIT,
            helper: units <= HELPER_UNITS && pointer(self.file)? == pointer(self.name)?,
            generator: word(self.flags)? & GENERATOR != 0,
        };
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
            self.by_first.clear();
        }
        self.known.insert(code, shape);
        self.by_first.insert(shape.first, code);
        Some(shape)
    }

    /// Another code object may lie where that one lay.
    pub(super) fn forget(&mut self, code: RemoteAddr) {
        if let Some(shape) = self.known.remove(&code) {
            self.by_first.remove(&shape.first);
        }
    }
}

/// A kind of instruction, told by its opcode.
#[derive(Debug)]
pub(super) struct Instructions {
    opcodes: Vec<u8>,
    /// By the instruction's address; bytecode does not change its kind.
    known: HashMap<RemoteAddr, bool>,
}

/// Code objects or instructions remembered before starting anew: more than a
/// program has.
const MAX_KNOWN: usize = 1 << 20;

impl Instructions {
    fn new(layout: &Layout, fields: &[Field]) -> Self {
        let opcode = |field: &Field| u8::try_from(layout.get(*field)?).ok();
        Self {
            opcodes: fields.iter().filter_map(opcode).collect(),
            known: HashMap::new(),
        }
    }

    /// Those that end a frame.
    pub(super) fn returns(layout: &Layout) -> Self {
        let fields = [
            Field::OpReturnValue,
            Field::OpInstrumentedReturnValue,
            Field::OpReturnConst,
            Field::OpInstrumentedReturnConst,
        ];
        Self::new(layout, &fields)
    }

    /// Those that call a function which is on their stack.
    pub(super) fn calls(layout: &Layout) -> Self {
        let fields = [
            Field::OpCall,
            Field::OpCallPyExactArgs,
            Field::OpCallPyGeneral,
            Field::OpCallBoundMethodExactArgs,
            Field::OpCallBoundMethodGeneral,
            Field::OpCallKw,
            Field::OpCallKwPy,
            Field::OpCallKwBoundMethod,
        ];
        Self::new(layout, &fields)
    }

    /// Whether the frame stands at one of them.
    pub(super) fn is_at(&mut self, memory: &dyn Memory, frame: &RawFrame) -> bool {
        let Position::Instruction(at, _) = frame.position else {
            return false;
        };
        if let Some(known) = self.known.get(&at) {
            return *known;
        }
        let mut opcode = [0];
        let is = memory.read(at, &mut opcode).is_ok() && self.opcodes.contains(&opcode[0]);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(at, is);
        is
    }
}
