//! Memory in which one thing is as large as a target can make it: what a decoder
//! bounds, beyond its bound, and shared by as many others as it can be.

use firefinch_cpython::{Field, Layout, find};
use firefinch_memory::{Memory, RemoteAddr};
use firefinch_snapshot::Capture;

/// Where nothing of a process is.
const FREE: RemoteAddr = RemoteAddr::new(0x1000_0000_0000);

/// Instructions of 3.6 to 3.10 (`Include/opcode.h`).
const POP_TOP: u8 = 1;
const NOP: u8 = 9;
const POP_JUMP_IF_TRUE: u8 = 115;
const LOAD_GLOBAL: u8 = 116;
const LOAD_FAST: u8 = 124;
const CALL_FUNCTION: u8 = 131;
const EXTENDED_ARG: u8 = 144;

/// More names than that of one function are not read.
const MAX_TUPLE: u32 = 1 << 17;

/// A capture that is being made over.
#[derive(Debug)]
pub(crate) struct Giant {
    pub(crate) capture: Capture,
    layout: Layout,
    free: RemoteAddr,
}

/// One that can be made of a capture: its name, and how; `None` where the version has
/// no such thing.
pub(crate) type Make = (&'static str, fn(&mut Giant) -> Option<()>);

/// All of them.
pub(crate) const GIANTS: [Make; 6] = [
    ("long names", Giant::long_names),
    ("long names of callees", Giant::long_callees),
    ("a deep stack of values, and many jumps", Giant::deep_values),
    ("a long line table, shared", Giant::shared_line_table),
    ("a deep stack of many code objects", Giant::deep_stack),
    ("many threads with long names", Giant::many_names),
];

impl Giant {
    /// Of a capture that can be decoded.
    pub(crate) fn of(capture: &Capture) -> Self {
        let runtime = find(&capture.memory, &capture.images(), capture).expect("it is intact");
        Self {
            capture: capture.clone(),
            layout: runtime.layout().clone(),
            free: FREE,
        }
    }

    /// The code objects of the newest frames.
    fn codes(&self) -> Vec<RemoteAddr> {
        let stacks = super::hostile::decode(&self.capture).stacks;
        let newest = stacks.values().filter_map(|stack| stack.first());
        newest.map(|(frame, _)| frame.code).collect()
    }

    fn at(&self, field: Field) -> Option<usize> {
        self.layout.get(field)
    }

    fn pointer(&self, object: RemoteAddr, field: Field) -> Option<RemoteAddr> {
        let at = object.offset(self.at(field)? as u64);
        self.capture.memory.read_ptr(at).ok()
    }

    fn set(&mut self, object: RemoteAddr, field: Field, value: u64) -> Option<()> {
        let at = object.offset(self.at(field)? as u64);
        self.capture.memory.insert(at, value.to_le_bytes().to_vec());
        Some(())
    }

    /// Puts bytes where nothing was; a page lies between it and what comes next.
    fn place(&mut self, bytes: Vec<u8>) -> RemoteAddr {
        let at = self.free;
        self.free = at.offset((bytes.len() as u64 + 8192) & !4095);
        self.capture.memory.insert(at, bytes);
        at
    }

    /// The first bytes of something; zeros where the capture has none, as nothing has
    /// read them.
    fn head(&self, object: RemoteAddr, len: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(len);
        while head.len() < len {
            let there = self
                .capture
                .memory
                .available(object.offset(head.len() as u64));
            match there.is_empty() {
                true => head.push(0),
                false => head.extend(&there[..there.len().min(len - head.len())]),
            }
        }
        head
    }

    /// The bytes of an object that begins with `head` and goes on with `items`.
    fn object(head: &[u8], size: usize, count: usize, items: &[u8]) -> Vec<u8> {
        let mut bytes = [head, items].concat();
        bytes[size..size + 8].copy_from_slice(&(count as u64).to_le_bytes());
        bytes
    }

    /// A text like this one, of so many characters.
    fn text(&mut self, like: RemoteAddr, count: usize) -> Option<RemoteAddr> {
        let (size, data) = match self.at(Field::StrAsciiLength) {
            Some(size) => (size, self.at(Field::StrAsciiSize)?),
            None => (self.at(Field::BytesSize)?, self.at(Field::BytesData)?),
        };
        let head = self.head(like, data);
        Some(self.place(Self::object(&head, size, count, &vec![b'x'; count])))
    }

    /// A `bytes` like this one, its contents repeated until they are so many.
    fn bytes(&mut self, like: RemoteAddr, pattern: &[u8], count: usize) -> Option<RemoteAddr> {
        let (size, data) = (self.at(Field::BytesSize)?, self.at(Field::BytesData)?);
        let head = self.head(like, data);
        let items: Vec<u8> = pattern.iter().copied().cycle().take(count).collect();
        Some(self.place(Self::object(&head, size, count, &items)))
    }

    fn long_names(&mut self) -> Option<()> {
        for code in self.codes() {
            for field in [Field::CodeName, Field::CodeQualname, Field::CodeFilename] {
                if let Some(name) = self.pointer(code, field) {
                    let text = self.text(name, 2 << 20)?;
                    self.set(code, field, text.get())?;
                }
            }
        }
        Some(())
    }

    /// 3.6 to 3.10: two hundred thousand calls of functions with names of a megabyte.
    fn long_callees(&mut self) -> Option<()> {
        let mut bytecode = Vec::new();
        for index in 0..200_000_u32 {
            let [low, middle, high, _] = (index % MAX_TUPLE).to_le_bytes();
            bytecode.extend([EXTENDED_ARG, high, EXTENDED_ARG, middle]);
            bytecode.extend([LOAD_GLOBAL, low, CALL_FUNCTION, 0, POP_TOP, 0]);
        }
        for code in self.codes() {
            self.run(code, &bytecode)?;
            let names = self.pointer(code, Field::CodeNames)?;
            let like = self.pointer(code, Field::CodeName)?;
            let (size, items) = (self.at(Field::TupleSize)?, self.at(Field::TupleItems)?);
            let mut texts = Vec::new();
            for _ in 0..32 {
                texts.extend(self.text(like, 1 << 20)?.get().to_le_bytes());
            }
            let count = MAX_TUPLE as usize;
            let head = self.head(names, items);
            let tuple = Self::object(&head, size, count, &texts.repeat(count / 32));
            let tuple = self.place(tuple);
            self.set(code, Field::CodeNames, tuple.get())?;
        }
        Some(())
    }

    /// Puts bytecode of 3.6 to 3.10 in the place of a function's.
    fn run(&mut self, code: RemoteAddr, bytecode: &[u8]) -> Option<()> {
        let before = self.pointer(code, Field::CodeCode)?;
        if self.layout.version() < (3, 6) {
            return None;
        }
        let long = self.bytes(before, bytecode, bytecode.len())?;
        self.set(code, Field::CodeCode, long.get())
    }

    /// 3.6 to 3.10: two hundred thousand values, then jumps to as many places of their
    /// own.
    fn deep_values(&mut self) -> Option<()> {
        let mut bytecode = [LOAD_FAST, 0].repeat(200_000);
        for index in 0..75_000_u32 {
            let [low, middle, high, _] = (1_500_000 - index * 4).to_le_bytes();
            bytecode.extend([EXTENDED_ARG, high, EXTENDED_ARG, middle]);
            bytecode.extend([POP_JUMP_IF_TRUE, low]);
        }
        bytecode.extend([NOP, 0].repeat(400_000));
        for code in self.codes() {
            self.run(code, &bytecode)?;
        }
        Some(())
    }

    /// Has every word that holds the one address hold the other, whatever its tags.
    fn replace(&mut self, from: RemoteAddr, to: RemoteAddr) {
        let mut found = Vec::new();
        for (start, bytes) in self.capture.memory.segments() {
            let skip = usize::try_from(start.get().wrapping_neg() % 8).unwrap_or(0);
            let words = bytes.get(skip..).unwrap_or_default().chunks_exact(8);
            for (index, word) in words.enumerate() {
                let value = word.try_into().map_or(0, u64::from_le_bytes);
                if value & !3 == from.get() {
                    let at = start.offset((skip + index * 8) as u64);
                    found.push((at, to.get() | value & 3));
                }
            }
        }
        for (at, value) in found {
            self.capture.memory.insert(at, value.to_le_bytes().to_vec());
        }
    }

    fn shared_line_table(&mut self) -> Option<()> {
        for code in self.codes() {
            self.long_line_table(code)?;
        }
        Some(())
    }

    fn long_line_table(&mut self, code: RemoteAddr) -> Option<()> {
        let table = self.pointer(code, Field::CodeLinetable)?;
        // One entry of one code unit each in the one encoding, a step of bytes and one
        // of lines in the others.
        let pattern: &[u8] = match self.at(Field::CodeAdaptive) {
            Some(_) => &[0xd8, 0],
            None => &[2, 1],
        };
        let long = self.bytes(table, pattern, 32 << 20)?;
        self.set(code, Field::CodeLinetable, long.get())
    }

    /// Callers without end below the oldest frame, each of another code object with the
    /// same endless line table.
    fn deep_stack(&mut self) -> Option<()> {
        let stacks = super::hostile::decode(&self.capture).stacks;
        let (_, stack) = stacks.iter().max_by_key(|(_, stack)| stack.len())?;
        let oldest = stack.last()?.0;
        let is_linked = self.at(Field::TstateFrame).is_some();
        let (caller, code, size) = match is_linked {
            true => (Field::FrameBack, Field::FrameCode, Field::FrameLocalsplus),
            false => (
                Field::IframePrevious,
                Field::IframeExecutable,
                Field::IframeLocalsplus,
            ),
        };
        let frame_len = self.at(size)?;
        let code_len = self.at(Field::CodeAdaptive).or(self.at(Field::CodeSize))?;
        self.long_line_table(oldest.code)?;
        let frame = self.head(oldest.addr, frame_len);
        let code_head = self.head(oldest.code, code_len);
        let (caller, code) = (self.at(caller)?, self.at(code)?);
        let count = 2_000_usize;
        // Frames one after another, then their code objects.
        let frames = self.free.offset(4096);
        let frames_len = count * frame_len.next_multiple_of(16);
        let codes = frames.offset((frames_len as u64 + 8191) & !4095);
        let step = |len: usize| len.next_multiple_of(16) as u64;
        let mut bytes = Vec::with_capacity(frames_len);
        let mut objects = Vec::new();
        for index in 0..count as u64 {
            let mut frame = frame.clone();
            let next = match index + 1 == count as u64 {
                true => 0,
                false => frames.offset((index + 1) * step(frame_len)).get(),
            };
            frame[caller..caller + 8].copy_from_slice(&next.to_le_bytes());
            let of = codes.offset(index * step(code_len)).get();
            frame[code..code + 8].copy_from_slice(&of.to_le_bytes());
            frame.resize(frame_len.next_multiple_of(16), 0);
            bytes.extend(frame);
            objects.extend(&code_head);
            objects.resize(objects.len().next_multiple_of(16), 0);
        }
        self.free = codes.offset((objects.len() as u64 + 8191) & !4095);
        self.capture.memory.insert(frames, bytes);
        self.capture.memory.insert(codes, objects);
        let at = oldest.addr.offset(caller as u64);
        let first = frames.get().to_le_bytes().to_vec();
        self.capture.memory.insert(at, first);
        Some(())
    }

    /// A text of these ASCII characters.
    fn find_text(&self, wanted: &str) -> Option<RemoteAddr> {
        let (size, data) = match self.at(Field::StrAsciiLength) {
            Some(size) => (size, self.at(Field::StrAsciiSize)?),
            None => (self.at(Field::BytesSize)?, self.at(Field::BytesData)?),
        };
        let memory = &self.capture.memory;
        let is_there = |object: &RemoteAddr| {
            let len = memory.read_u64(object.offset(size as u64));
            len == Ok(wanted.len() as u64)
        };
        memory.segments().find_map(|(start, bytes)| {
            let mut found = bytes.windows(wanted.len()).enumerate();
            found.find_map(|(index, window)| {
                let object = start.offset(index as u64).get().checked_sub(data as u64);
                let object = object.map(RemoteAddr::new)?;
                (window == wanted.as_bytes() && is_there(&object)).then_some(object)
            })
        })
    }

    /// The dict that some dict has under this key.
    fn dict_behind(&self, key: RemoteAddr) -> Option<RemoteAddr> {
        let memory = &self.capture.memory;
        let is_dict = |object: &RemoteAddr| {
            let kind = self.pointer(*object, Field::ObjectType);
            let name = kind.and_then(|kind| self.pointer(kind, Field::TypeName));
            name.is_some_and(|name| memory.available(name).starts_with(b"dict\0"))
        };
        memory.segments().find_map(|(_, bytes)| {
            let mut words = bytes.windows(16).step_by(8);
            words.find_map(|pair| {
                let (name, value) = pair.split_at(8);
                let value = RemoteAddr::new(u64::from_le_bytes(value.try_into().ok()?));
                (name == key.get().to_le_bytes() && is_dict(&value)).then_some(value)
            })
        })
    }

    /// `threading._active` with half a million entries for one thread, whose name is long.
    fn many_names(&mut self) -> Option<()> {
        let name = self.find_text("MainThread")?;
        let long = self.text(name, 2 << 20)?;
        self.replace(name, long);
        let active = self.dict_behind(self.find_text("_active")?)?;
        let keys = self.pointer(active, Field::DictKeys)?;
        let indices = self.at(Field::DictKeysIndices)?;
        let size = self.at(Field::KeyEntrySize)?;
        let mut head = self.head(keys, indices);
        // The smallest table has eight indices of a byte.
        let entry = self.head(keys.offset(indices as u64 + 8), size);
        let (log2, count) = (20_u8, 600_000_usize);
        if let Some(at) = self.at(Field::DictKeysLog2Size) {
            head[at] = log2;
        }
        if let Some(at) = self.at(Field::DictKeysSize) {
            head[at..at + 8].copy_from_slice(&(1_u64 << log2).to_le_bytes());
        }
        if let Some(at) = self.at(Field::DictKeysLog2IndexBytes) {
            head[at] = log2 + 2;
        }
        let entries = self.at(Field::DictKeysNentries)?;
        head[entries..entries + 8].copy_from_slice(&(count as u64).to_le_bytes());
        head.resize(indices + (4 << log2), 0);
        head.extend(entry.repeat(count));
        let keys = self.place(head);
        self.set(active, Field::DictKeys, keys.get())
    }

    /// Where `_Py_DebugOffsets` lies, from 3.13 on, and its offsets.
    pub(crate) fn debug_offsets(capture: &Capture) -> Vec<RemoteAddr> {
        let cookie = b"xdebugpy";
        let found = capture.memory.segments().find_map(|(start, bytes)| {
            let mut words = bytes.windows(cookie.len()).enumerate();
            words.find_map(|(at, word)| (word == cookie).then(|| start.offset(at as u64)))
        });
        let Some(start) = found else {
            return Vec::new();
        };
        // Behind cookie, version and kind of build; 3.13 has the fewest, 584 bytes.
        (24..584).step_by(8).map(|at| start.offset(at)).collect()
    }
}
