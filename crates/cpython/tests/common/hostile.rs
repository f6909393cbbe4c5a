//! Damaged memory, and what decoders may make of it. Choices come from bytes,
//! so that a random sequence and a fuzzer drive the same code.
#![allow(dead_code, reason = "each user uses its part")]

use std::collections::{BTreeMap, HashSet};

use firefinch_cpython::{
    CodeCache, Field, Gil, Layout, MAX_FRAMES, Motion, Place, PythonThread, RawFrame, Resolved,
    Runtime, StackReader, ThreadIds, find,
};
use firefinch_memory::{Memory, Metered, ReadCost, RemoteAddr, Snapshot};
use firefinch_snapshot::Capture;

/// Where choices come from; zeros once it has run out.
#[derive(Debug)]
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    fn number(&mut self, bytes: usize) -> u64 {
        let (now, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        now.iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    fn below(&mut self, limit: usize) -> usize {
        let number = usize::try_from(self.number(3)).unwrap_or(0);
        number.checked_rem(limit).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below(from.len());
        from.get(index).copied()
    }
}

/// What is written over words: nothing, signs, lengths beyond reason, and
/// those that wrap around when something is added or multiplied.
const ODD: [u64; 12] = [
    0,
    1,
    7,
    u64::MAX,
    u64::MAX - 7,
    i64::MIN.cast_unsigned(),
    i64::MAX.cast_unsigned(),
    1 << 20,
    1 << 26,
    1 << 32,
    0xffff_ffff,
    0x7fff_ffff,
];

/// Damages a capture as `choices` say; returns whether all it did was to take
/// memory away.
pub(crate) fn damage(capture: &mut Capture, choices: &mut Choices<'_>) -> bool {
    let mut only_taken = true;
    // Words are found in the intact memory, where pointers still are pointers.
    let words = Words::of(&capture.memory);
    while !choices.0.is_empty() {
        only_taken &= damage_once(capture, &words, choices);
    }
    only_taken
}

/// The aligned words of a snapshot.
#[derive(Debug)]
struct Words {
    segments: Vec<(RemoteAddr, usize)>,
    /// Those that point into the snapshot, and where to.
    pointers: Vec<(RemoteAddr, RemoteAddr)>,
    /// Those that hold a number such as a length.
    small: Vec<RemoteAddr>,
}

impl Words {
    fn of(memory: &Snapshot) -> Self {
        let mut words = Self {
            segments: Vec::new(),
            pointers: Vec::new(),
            small: Vec::new(),
        };
        for (start, bytes) in memory.segments() {
            words.segments.push((start, bytes.len()));
            let skip = start.get().wrapping_neg() % 8;
            let skipped = usize::try_from(skip)
                .ok()
                .and_then(|skip| bytes.get(skip..));
            for (index, word) in skipped.unwrap_or_default().chunks_exact(8).enumerate() {
                let at = start.offset(skip + index as u64 * 8);
                let value = word.try_into().map_or(0, u64::from_le_bytes);
                if !memory.available(RemoteAddr::new(value)).is_empty() {
                    words.pointers.push((at, RemoteAddr::new(value)));
                } else if (1..1 << 20).contains(&value) {
                    words.small.push(at);
                }
            }
        }
        words
    }

    fn somewhere(&self, choices: &mut Choices<'_>) -> RemoteAddr {
        let (start, len) = choices.pick(&self.segments).unwrap_or_default();
        start.offset(choices.below(len) as u64)
    }
}

/// One damage; whether it took memory away and did nothing else.
fn damage_once(capture: &mut Capture, words: &Words, choices: &mut Choices<'_>) -> bool {
    let memory = &mut capture.memory;
    let op = choices.number(1) % 12;
    match op {
        0..=2 => {
            let at = words.somewhere(choices);
            let len = match op {
                0 => 8,
                1 => 1 << choices.below(13),
                _ => u64::MAX,
            };
            let there = memory.available(at).len() as u64;
            memory.remove(at, len.min(there));
            return true;
        }
        3 => {
            let at = words.somewhere(choices);
            if let Some(byte) = memory.available(at).first() {
                memory.insert(at, vec![byte ^ 1 << choices.below(8)]);
            }
        }
        4 => {
            // Only over what is there: else more would become readable.
            let at = words.somewhere(choices);
            let value = choices.pick(&ODD).unwrap_or_default();
            write(memory, at, &value.to_le_bytes()[..1 << choices.below(4)]);
        }
        5 => {
            let at = choices.pick(&words.small).unwrap_or_default();
            let value = choices.pick(&ODD).unwrap_or_default();
            write(memory, at, &value.to_le_bytes()[..4 << choices.below(2)]);
        }
        6 | 7 => {
            // To where another pointer points: it may well be a sibling.
            let (at, _) = choices.pick(&words.pointers).unwrap_or_default();
            let (_, to) = choices.pick(&words.pointers).unwrap_or_default();
            write(memory, at, &to.get().to_le_bytes());
        }
        8 => {
            // To itself, or a little before or behind.
            let (at, to) = choices.pick(&words.pointers).unwrap_or_default();
            let near = if choices.below(2) == 0 { at } else { to };
            let near = near.get().wrapping_add(choices.below(256) as u64);
            write(memory, at, &near.wrapping_sub(128).to_le_bytes());
        }
        9 => {
            let (at, _) = choices.pick(&words.pointers).unwrap_or_default();
            let value = choices.pick(&ODD).unwrap_or_default();
            write(memory, at, &value.to_le_bytes());
        }
        10 => {
            let (from, to) = (words.somewhere(choices), words.somewhere(choices));
            let block = memory.available(from);
            let len = block.len().min(1 << choices.below(10));
            let block = block[..len].to_vec();
            write(memory, to, &block);
        }
        _ => {
            let index = choices.below(capture.images.len().max(1));
            let to = words.somewhere(choices);
            if let Some(image) = capture.images.get_mut(index) {
                image.base = to;
            }
        }
    }
    false
}

/// Writes where there is something to write over.
fn write(memory: &mut Snapshot, at: RemoteAddr, bytes: &[u8]) {
    let len = memory.available(at).len().min(bytes.len());
    memory.insert(at, bytes[..len].to_vec());
}

/// What decoding a damaged snapshot may cost at most. Of 50,000 none took more
/// than 18,000 reads. The sum of bytes is that of searches through images that
/// claim to be huge: six at most (`find`) of 256 MiB each, for some ten images,
/// by blocks of 1 MiB. No copy may be longer than the longest that a decoder
/// believes in, 64 MiB.
pub(crate) const LIMIT: ReadCost = ReadCost {
    reads: 1 << 17,
    bytes: 16 << 30,
    longest: 64 << 20,
};

/// What was decoded of damaged memory.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// What it cost.
    pub(crate) cost: ReadCost,
    /// By thread state: the stack as of a stopped thread, where it was given.
    pub(crate) stacks: BTreeMap<RemoteAddr, Vec<(RawFrame, Place)>>,
    /// How many were given of those as of running threads.
    pub(crate) running: usize,
}

/// Looks at each stack as of running threads.
const LOOKS: usize = 2;

/// Runs all decoders.
///
/// # Panics
/// Whenever what they give is not so, or cost too much: see the assertions.
pub(crate) fn decode(capture: &Capture) -> Decoded {
    decode_within(capture, LIMIT)
}

/// The same where it may cost another price.
///
/// # Panics
/// As [`decode`].
pub(crate) fn decode_within(capture: &Capture, limit: ReadCost) -> Decoded {
    let memory = Metered::new(&capture.memory, limit);
    let mut decoded = Decoded::default();
    if let Ok(runtime) = find(&memory, &capture.images(), capture) {
        decode_runtime(capture, &runtime, &memory, &mut decoded);
    }
    decoded.cost = memory.cost();
    assert!(decoded.cost.is_within(&limit), "{:?}", decoded.cost);
    decoded
}

fn decode_runtime(
    capture: &Capture,
    runtime: &Runtime,
    memory: &dyn Memory,
    decoded: &mut Decoded,
) {
    let _ = runtime.list_heads(memory);
    let interpreters = runtime.interpreters(memory).unwrap_or_default();
    let distinct: HashSet<_> = interpreters.iter().map(|i| i.addr).collect();
    assert_eq!(distinct.len(), interpreters.len(), "an interpreter twice");
    for interpreter in &interpreters {
        let _ = runtime.sys_path(memory, *interpreter);
        let _ = runtime.thread_names(memory, *interpreter, 4);
        let gil = Gil::of(runtime, memory, *interpreter);
        let holder = gil.and_then(|gil| gil.holder(memory));
        assert_ne!(holder, Some(RemoteAddr::NULL));
    }
    let threads = runtime.threads(memory).unwrap_or_default();
    let distinct: HashSet<_> = threads.iter().map(|t| (t.interpreter, t.state)).collect();
    assert_eq!(
        distinct.len(),
        threads.len(),
        "a thread twice in {threads:?}"
    );
    let native_ids: HashSet<_> = capture.native_ids.iter().copied().collect();
    let found = ThreadIds::new(runtime).resolve(memory, &threads, &native_ids);
    assert_eq!(found.len(), threads.len());

    let (Ok(mut stacks), Ok(mut codes)) = (StackReader::new(runtime), CodeCache::new(runtime))
    else {
        panic!("a layout lacks a field");
    };
    let truth = Truth {
        memory: &capture.memory,
        layout: runtime.layout(),
    };
    for thread in &threads {
        let mut resolved = Resolved::default();
        for (motion, looks) in [(Motion::Stopped, 1), (Motion::Running, LOOKS)] {
            for _ in 0..looks {
                let Ok(stack) = stacks.read(memory, thread.state, motion) else {
                    continue;
                };
                truth.check_chain(thread, motion, &stack.frames);
                let Ok(places) = codes.resolve(memory, &stack) else {
                    continue;
                };
                // With what the last look left, the same comes out.
                let updated = codes.update(memory, &stack, &mut resolved);
                assert!(updated.is_ok_and(|kept| kept <= places.len()));
                assert!(resolved.places().iter().rev().eq(&places));
                truth.check_codes(&stack.frames, &places);
                match motion {
                    Motion::Running | Motion::Resting => decoded.running += 1,
                    Motion::Stopped => {
                        let frames = stack.frames.into_iter().zip(places).collect();
                        decoded.stacks.insert(thread.state, frames);
                    }
                }
            }
        }
    }
}

/// The memory as it is, followed in the plainest way.
struct Truth<'a> {
    memory: &'a Snapshot,
    layout: &'a Layout,
}

impl Truth<'_> {
    fn field(&self, field: Field) -> u64 {
        self.layout.get(field).map_or(u64::MAX, |at| at as u64)
    }

    fn ptr(&self, base: RemoteAddr, field: Field) -> RemoteAddr {
        let at = base.offset(self.field(field));
        self.memory.read_ptr(at).expect("a frame that was read")
    }

    fn is_linked(&self) -> bool {
        self.layout.get(Field::TstateFrame).is_some()
    }

    /// `frame`, or the nearest caller that is not the interpreter's own.
    fn shown(&self, mut frame: RemoteAddr) -> RemoteAddr {
        let internal = [Field::OwnerInterpreter, Field::OwnerCstack].map(|f| self.field(f));
        let internal = internal.into_iter().min().unwrap_or(u64::MAX);
        for _ in 0..MAX_FRAMES {
            if frame.is_null() || self.is_linked() {
                break;
            }
            let mut owner = [0];
            let at = frame.offset(self.field(Field::IframeOwner));
            let read = self.memory.read(at, &mut owner);
            if read.is_err() || u64::from(owner[0]) < internal {
                break;
            }
            frame = self.ptr(frame, Field::IframePrevious);
        }
        frame
    }

    fn newest(&self, thread: RemoteAddr) -> RemoteAddr {
        if self.is_linked() {
            return self.ptr(thread, Field::TstateFrame);
        }
        let frame = match self.layout.get(Field::TstateCurrentFrame) {
            Some(_) => self.ptr(thread, Field::TstateCurrentFrame),
            None => match self.ptr(thread, Field::TstateCframe) {
                RemoteAddr::NULL => RemoteAddr::NULL,
                cframe => self.ptr(cframe, Field::CframeCurrentFrame),
            },
        };
        self.shown(frame)
    }

    /// A stack that was given is a chain in memory, from the thread to a null
    /// pointer, in which no frame comes twice. As of a running thread it may
    /// begin at another frame than the thread names.
    fn check_chain(&self, thread: &PythonThread, motion: Motion, frames: &[RawFrame]) {
        assert!(frames.len() <= MAX_FRAMES);
        let distinct: HashSet<_> = frames.iter().map(|frame| frame.addr).collect();
        assert_eq!(distinct.len(), frames.len(), "a frame twice");
        let newest = frames.first().map_or(RemoteAddr::NULL, |frame| frame.addr);
        if motion == Motion::Stopped {
            assert_eq!(newest, self.newest(thread.state));
        }
        let (caller, code, tag) = match self.is_linked() {
            true => (Field::FrameBack, Field::FrameCode, 0),
            false => (Field::IframePrevious, Field::IframeExecutable, 3),
        };
        for (index, frame) in frames.iter().enumerate() {
            assert!(!frame.code.is_null());
            assert_eq!(frame.code, self.ptr(frame.addr, code).untagged(tag));
            let next = frames.get(index + 1);
            let next = next.map_or(RemoteAddr::NULL, |frame| frame.addr);
            assert_eq!(self.shown(self.ptr(frame.addr, caller)), next);
        }
    }

    /// All code objects are of types called so; one other type may have been
    /// named `PyCode_Type` by a damaged symbol table.
    fn check_codes(&self, frames: &[RawFrame], places: &[Place]) {
        assert_eq!(frames.len(), places.len());
        let kind = |frame: &RawFrame| self.ptr(frame.code, Field::ObjectType);
        let is_code = |kind: &RemoteAddr| {
            let mut name = [0; 5];
            let at = self
                .memory
                .read_ptr(kind.offset(self.field(Field::TypeName)));
            at.is_ok_and(|at| self.memory.read(at, &mut name).is_ok()) && &name == b"code\0"
        };
        let others: HashSet<_> = frames.iter().map(kind).filter(|k| !is_code(k)).collect();
        assert!(others.len() <= 1, "types {others:?}");
        for place in places {
            assert!(place.line != Some(0), "{place:?}");
        }
    }
}
