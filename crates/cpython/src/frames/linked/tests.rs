//! Chains in a memory that moves while it is read.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use firefinch_memory::{Memory, ReadError, ReadErrorKind, RemoteAddr};

use super::{Linked, place};
use crate::frames::RawLoop;
use crate::frames::c_frames::CFrame;
use crate::frames::program::classic::op;
use crate::frames::{Motion, Position, RawStack, StackError};
use crate::layout::{Build, Field, Layout, ReleaseLevel, Version};

const BASE: u64 = 0x10_0000;
const THREAD: u64 = BASE;

/// Words that are written at one moment.
type Change = Vec<(u64, u64)>;

/// Memory that changes once after each range that is read, as far as changes go.
struct Moving {
    layout: Layout,
    bytes: RefCell<Vec<u8>>,
    end: Cell<u64>,
    changes: RefCell<VecDeque<Change>>,
}

impl Memory for Moving {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        let kind = ReadErrorKind::Unmapped;
        let error = ReadError { addr, len, kind };
        let start = addr.get().checked_sub(BASE).ok_or(error)?;
        let start = usize::try_from(start).map_err(|_| error)?;
        let bytes = self.bytes.borrow();
        buf.copy_from_slice(bytes.get(start..start + len).ok_or(error)?);
        drop(bytes);
        for (at, value) in self.changes.borrow_mut().pop_front().unwrap_or_default() {
            self.write(at, value);
        }
        Ok(())
    }
}

impl Moving {
    /// An empty 2.7: there texts and bytecode are both `str`.
    fn new() -> Self {
        let version = Version {
            major: 2,
            minor: 7,
            micro: 18,
            level: ReleaseLevel::Final,
            serial: 0,
        };
        Self {
            layout: Layout::of(version, Build::Release).unwrap(),
            bytes: RefCell::new(vec![0; 1 << 16]),
            end: Cell::new(BASE + 0x1000),
            changes: RefCell::default(),
        }
    }

    fn offset(&self, field: Field) -> u64 {
        self.layout.need(field).unwrap() as u64
    }

    fn write(&self, at: u64, value: u64) {
        let at = usize::try_from(at - BASE).unwrap();
        self.bytes.borrow_mut()[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn allocate(&self, fields: &[(Field, u64)]) -> u64 {
        let at = self.end.get();
        self.end.set(at + 0x200);
        for (field, value) in fields {
            self.write(at + self.offset(*field), *value);
        }
        at
    }

    fn str(&self, bytes: &[u8]) -> u64 {
        let kind = self.allocate(&[(Field::TypeFlags, 1 << 27)]);
        let len = bytes.len() as u64;
        let at = self.allocate(&[(Field::ObjectType, kind), (Field::BytesSize, len)]);
        let data = usize::try_from(at + self.offset(Field::BytesData) - BASE).unwrap();
        self.bytes.borrow_mut()[data..data + bytes.len()].copy_from_slice(bytes);
        at
    }

    fn tuple(&self, items: &[u64]) -> u64 {
        let at = self.allocate(&[(Field::TupleSize, items.len() as u64)]);
        for (index, item) in (0..).zip(items) {
            self.write(at + self.offset(Field::TupleItems) + index * 8, *item);
        }
        at
    }

    /// A function `name` with this bytecode, in which it knows these names.
    fn code(&self, name: &str, bytecode: &[u8], names: &[&str]) -> u64 {
        let names: Vec<_> = names.iter().map(|n| self.str(n.as_bytes())).collect();
        let nothing = self.tuple(&[]);
        self.allocate(&[
            (Field::CodeName, self.str(name.as_bytes())),
            (Field::CodeCode, self.str(bytecode)),
            (Field::CodeNames, self.tuple(&names)),
            (Field::CodeConsts, nothing),
            (Field::CodeVarnames, nothing),
            (Field::CodeCellvars, nothing),
            (Field::CodeFreevars, nothing),
        ])
    }

    /// A frame that is executing, on a page of its own: so its copy is another
    /// moment than those of the others.
    fn frame(&self, code: u64, caller: u64, at: u64) -> u64 {
        self.end.set((self.end.get() | 0xfff) + 1);
        self.allocate(&[
            (Field::FrameLasti, at),
            (Field::ObjectRefCount, 1),
            (Field::FrameCode, code),
            (Field::FrameBack, caller),
        ])
    }

    fn newest(&self, frame: u64) -> (u64, u64) {
        (THREAD + self.offset(Field::TstateFrame), frame)
    }

    fn moves_to(&self, frame: u64, at: u64) -> (u64, u64) {
        (frame + self.offset(Field::FrameLasti), at)
    }

    fn released(&self, frame: u64) -> (u64, u64) {
        (frame + self.offset(Field::ObjectRefCount), 0)
    }

    fn read_stack(&self) -> Result<RawStack, StackError> {
        let mut linked = Linked::new(&self.layout).unwrap();
        linked.read(self, RemoteAddr::new(THREAD), Motion::Running)
    }
}

/// Bytecode that calls these names in turn, without arguments.
fn calls(names: &[u8]) -> Vec<u8> {
    let call = |name: &u8| {
        [
            op::LOAD_GLOBAL,
            *name,
            0,
            op::CALL_FUNCTION,
            0,
            0,
            op::POP_TOP,
        ]
    };
    names.iter().flat_map(call).collect()
}

/// The call number `index` in it.
fn call_at(index: u64) -> u64 {
    index * 7 + 3
}

/// Frames as code object and offset.
fn places(stack: &RawStack) -> Vec<(u64, u64)> {
    let place = |position| match position {
        Position::Offset(offset) => u64::try_from(offset).unwrap(),
        Position::Instruction(..) | Position::AnyCall => panic!("{position:?}"),
    };
    let frames = stack.frames.iter();
    frames
        .map(|frame| (frame.code.get(), place(frame.position)))
        .collect()
}

/// Between the read of the newest frame and that of its caller, the newest
/// returns and the caller makes its next call: what is shown is the call that
/// was, at every number of moves between two reads.
#[test]
fn a_caller_that_has_moved_on_is_put_back() {
    for late in 0..6 {
        let memory = Moving::new();
        let code = memory.code("main", &calls(&[0, 1]), &["f", "g"]);
        let callees = [
            memory.code("f", &calls(&[]), &[]),
            memory.code("g", &calls(&[]), &[]),
        ];
        let main = memory.frame(code, 0, call_at(0));
        let frames = callees.map(|code| memory.frame(code, main, 0));
        let head = memory.newest(frames[0]);
        memory.write(head.0, head.1);
        let mut changes = VecDeque::from(vec![Change::new(); late]);
        // Again and again, so that no number of reads gets past it.
        for _ in 0..50 {
            changes.push_back(vec![memory.newest(main), memory.released(frames[0])]);
            changes.push_back(vec![memory.moves_to(main, call_at(0) + 3)]);
            changes.push_back(vec![memory.moves_to(main, call_at(1))]);
            changes.push_back(vec![memory.newest(frames[1])]);
            let restored = (memory.released(frames[0]).0, 1);
            changes.push_back(vec![
                memory.newest(frames[0]),
                memory.moves_to(main, call_at(0)),
                restored,
            ]);
        }
        *memory.changes.borrow_mut() = changes;
        let stack = places(&memory.read_stack().unwrap());
        let true_callers = [vec![], vec![(code, call_at(0))], vec![(code, call_at(1))]];
        match stack.as_slice() {
            [(newest, _)] => assert_eq!(*newest, code),
            [(newest, _), callers @ ..] => {
                let index = callees.iter().position(|callee| callee == newest);
                assert_eq!(callers, true_callers[index.unwrap() + 1], "{late}");
            }
            [] => panic!("no frames"),
        }
    }
}

/// A frame of a recursion that has been released is linked to others that
/// have; that is no chain of callers, and it ends in none.
#[test]
fn the_free_list_is_no_stack() {
    let memory = Moving::new();
    let code = memory.code("f", &calls(&[0]), &["f"]);
    let other = memory.frame(code, 0, call_at(0));
    let newest = memory.frame(code, other, call_at(0));
    let head = memory.newest(newest);
    for (at, value) in [head, memory.released(other), memory.released(newest)] {
        memory.write(at, value);
    }
    assert_eq!(memory.read_stack(), Err(StackError::Torn));
}

/// A function whose frame leads to the free list, and which nobody is known to call, is not
/// shown; what was executing when it was copied is, with all of its callers.
#[test]
fn what_was_executing_is_shown() {
    let memory = Moving::new();
    let [main, f, g] = [(&[0][..], "f"), (&[0], "f"), (&[], "")].map(|(called, callee)| {
        let name = ["g", "f"][called.len()];
        memory.code(name, &calls(called), &[callee])
    });
    let oldest = memory.frame(main, 0, call_at(0));
    let one = memory.frame(f, oldest, call_at(0));
    let two = memory.frame(f, one, call_at(0));
    let given_back = memory.frame(g, 0, 0);
    let newest = memory.frame(g, given_back, 0);
    let (at, value) = memory.newest(two);
    memory.write(at, value);
    let mut linked = Linked::new(&memory.layout).unwrap();
    let mut read = || linked.read(&memory, RemoteAddr::new(THREAD), Motion::Running);
    let expected = [(f, call_at(0)), (f, call_at(0)), (main, call_at(0))];
    assert_eq!(places(&read().unwrap()), expected);
    for (at, value) in [
        memory.newest(newest),
        memory.released(newest),
        memory.released(given_back),
    ] {
        memory.write(at, value);
    }
    assert_eq!(places(&read().unwrap()), expected);
}

/// What is called from two places, with a jump between them and where the
/// caller is now, cannot be told: it waits, and of what was executing when it was copied it
/// is sure that it did. A call from either is not guessed.
#[test]
fn an_ambiguous_caller_is_not_guessed() {
    let memory = Moving::new();
    let mut bytecode = calls(&[0, 0]);
    // Whoever is at the end may have come from either.
    let end = u8::try_from(bytecode.len()).unwrap() + 3;
    bytecode.extend([op::JUMP_ABSOLUTE, end, 0, op::NOP]);
    let code = memory.code("main", &bytecode, &["f"]);
    let callee = memory.code("f", &calls(&[]), &[]);
    let main = memory.frame(code, 0, u64::from(end));
    let newest = memory.frame(callee, main, 0);
    for (at, value) in [memory.newest(newest), memory.released(newest)] {
        memory.write(at, value);
    }
    let mut linked = Linked::new(&memory.layout).unwrap();
    let read = linked.read(&memory, RemoteAddr::new(THREAD), Motion::Running);
    assert_eq!(read, Err(StackError::Unproved));
    let mut unproved = linked.take_unproved().unwrap();
    assert_eq!(places(&unproved.sure().unwrap()), [(code, u64::from(end))]);
    // Once the callee's frame is known to be kept for it, its caller is, if not from where.
    while !linked.place_later(&memory, &mut unproved) {
        assert!(!unproved.is_hopeless());
        let _ = linked.read(&memory, RemoteAddr::new(THREAD), Motion::Running);
    }
    let [newest, caller] = *unproved.stack().frames else {
        panic!("{unproved:?}")
    };
    assert_eq!((newest.code.get(), caller.code.get()), (callee, code));
    assert_eq!(caller.position, Position::AnyCall);
    // After the second call alone it could only be that.
    memory.write(memory.moves_to(main, 0).0, call_at(1) + 3);
    let stack = places(&memory.read_stack().unwrap());
    assert_eq!(stack[1], (code, call_at(1)));
}

/// Where `main`, whose bytecode this is, is shown as the caller of `f` once it stands at
/// `moved_to`, from where nothing leads back to one of its calls.
fn caller_that_has_gone_on(bytecode: &[u8], moved_to: u64) -> Position {
    let memory = Moving::new();
    let code = memory.code("main", bytecode, &["f"]);
    let callee = memory.code("f", &calls(&[]), &[]);
    let main = memory.frame(code, 0, call_at(0));
    let newest = memory.frame(callee, main, 0);
    let (at, value) = memory.newest(newest);
    memory.write(at, value);
    let mut linked = Linked::new(&memory.layout).unwrap();
    let mut read = || linked.read(&memory, RemoteAddr::new(THREAD), Motion::Running);
    // Until the callee's frame is known to be kept for it.
    for _ in 0..16 {
        let expected = [(callee, 0), (code, call_at(0))];
        assert_eq!(places(&read().unwrap()), expected);
    }
    for (at, value) in [memory.released(newest), memory.moves_to(main, moved_to)] {
        memory.write(at, value);
    }
    let stack = read().unwrap();
    let [newest, caller] = *stack.frames else {
        panic!("{stack:?}")
    };
    assert_eq!(
        (newest.code.get(), newest.position),
        (callee, Position::Offset(0))
    );
    assert_eq!(caller.code.get(), code);
    caller.position
}

/// A function that has called another by name, and has gone on to where it may have done so
/// from several places, is shown as its caller all the same, without a line; if it calls it
/// in one place only, with that.
#[test]
fn a_caller_that_may_have_called_from_several_places_has_no_line() {
    let mut bytecode = calls(&[0, 0]);
    let end = u8::try_from(bytecode.len()).unwrap() + 3;
    bytecode.extend([op::JUMP_ABSOLUTE, end, 0, op::NOP]);
    let position = caller_that_has_gone_on(&bytecode, end.into());
    assert_eq!(position, Position::AnyCall);
    // Who knows what this calls.
    let mut bytecode = calls(&[0]);
    let unknown = bytecode.len() as u64;
    bytecode.extend([op::CALL_FUNCTION, 0, 0]);
    let position = caller_that_has_gone_on(&bytecode, unknown);
    let call = i32::try_from(call_at(0)).unwrap();
    assert_eq!(position, Position::Offset(call));
}

/// Where what was executing when it was copied has another caller than it can have, that
/// caller is shown as it stands, at the same look: it was executing as well, and to look
/// again would show what can be told.
#[test]
fn what_was_executing_is_cut_where_it_is_torn() {
    let memory = Moving::new();
    let main = memory.code("main", &calls(&[0, 1]), &["f", "h"]);
    let f = memory.code("f", &calls(&[0]), &["f"]);
    let h = memory.code("h", &calls(&[]), &[]);
    let g = memory.code("g", &calls(&[]), &[]);
    let oldest = memory.frame(main, 0, call_at(1));
    let stays = memory.frame(f, oldest, call_at(0));
    let brief = memory.frame(h, oldest, 0);
    let given_back = memory.frame(g, 0, 0);
    let newest = memory.frame(g, given_back, 0);
    let set = |changes: &[(u64, u64)]| {
        for (at, value) in changes {
            memory.write(*at, *value);
        }
    };
    let mut linked = Linked::new(&memory.layout).unwrap();
    let mut read = || linked.read(&memory, RemoteAddr::new(THREAD), Motion::Running);
    // All are met, each where it can be.
    set(&[memory.newest(brief)]);
    assert_eq!(places(&read().unwrap()), [(h, 0), (main, call_at(1))]);
    set(&[memory.newest(stays), memory.moves_to(oldest, call_at(0))]);
    let expected = [(f, call_at(0)), (main, call_at(0))];
    assert_eq!(places(&read().unwrap()), expected);
    // After a chain that cannot be told all of them are copied at once.
    set(&[
        memory.newest(newest),
        memory.released(newest),
        memory.released(given_back),
    ]);
    read().unwrap();
    set(&[(brief + memory.offset(Field::FrameBack), stays)]);
    assert_eq!(places(&read().unwrap()), expected);
}

/// Loops are told off against what 3.10 keeps for them from the oldest, one more or less at the newest end being as it is for a moment.
#[test]
fn loops_lie_where_their_own_do() {
    let own = |frames, within: u64| RawLoop {
        frames,
        within: Some(within).filter(|at| *at > 0).map(RemoteAddr::new),
    };
    let chain = |addrs: &[u64]| -> Vec<CFrame> {
        let c_frame = |addr: &u64| CFrame::new(RemoteAddr::new(*addr), RemoteAddr::NULL);
        addrs.iter().map(c_frame).collect()
    };
    for (given, expected) in [
        (&[1, 2, 9][..], &[own(1, 1), own(1, 2)][..]),
        (&[1, 2, 3, 9], &[own(0, 1), own(1, 2), own(1, 3)]),
        (&[2, 9], &[own(1, 0), own(1, 2)]),
        (&[1, 2, 3, 4, 9], &[own(1, 0), own(1, 0)]),
        (&[9], &[own(1, 0), own(1, 0)]),
        (&[], &[own(1, 0), own(1, 0)]),
    ] {
        let mut loops = vec![own(1, 0); 2];
        place(&mut loops, &chain(given));
        assert_eq!(loops, expected, "{given:?}");
    }
}
