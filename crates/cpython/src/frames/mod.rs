//! A thread's Python stack, as addresses: which code object, at which instruction.
//!
//! Two shapes of stack, one result. To 3.10 frames are heap objects linked by
//! `f_back` ([`linked`]); from 3.11 on they lie in the thread's data stack
//! ([`data_stack`]). Nothing here turns addresses into names: that is
//! [`crate::code`].

mod c_frames;
mod data_stack;
mod edges;
mod linked;
mod program;
mod reach;

use std::fmt;
use std::time::Duration;

use firefinch_memory::{Memory, ReadError, RemoteAddr};

use crate::layout::MissingField;
use crate::runtime::Runtime;
use data_stack::DataStack;
use linked::Linked;
pub use reach::Reach;

/// One frame as it stands in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFrame {
    /// Where the frame itself is: its identity while it lives.
    pub addr: RemoteAddr,
    /// Its code object.
    pub code: RemoteAddr,
    /// Where in the code it stands.
    pub position: Position,
}

/// Where in its code a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// The offset in bytes of the last instruction begun; −1 before the first.
    Offset(i32),
    /// The address of the instruction, and which copy of the bytecode it is in
    /// (0 is the code object's own).
    Instruction(RemoteAddr, u32),
    /// At one of several calls of the callee, and which of them is not known.
    AnyCall,
}

/// A thread's stack, newest frame first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawStack {
    /// The frames, newest first; empty when the thread runs no Python.
    pub frames: Vec<RawFrame>,
    /// The interpreter's count of code objects after the frames were read,
    /// where it keeps one.
    pub codes: Option<CodeCounter>,
    /// Whether the thread held its interpreter's lock, where its state says so
    /// (from 3.13 on, in builds that have the lock).
    pub holds_gil: Option<bool>,
    /// The loops that run the frames, newest first, if they were asked for
    /// ([`StackReader::with_loops`]): together they run all of them.
    pub loops: Vec<RawLoop>,
    /// Its newest frame, as looks name it that wait for such a stack
    /// ([`StackError::Deferred`]); `None` if none will wait for one like this.
    pub leaf: Option<Leaf>,
}

/// Which frame was the newest of a stack, as far as that can still be told when its
/// callers cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Where the frame was.
    pub addr: RemoteAddr,
    /// Where the frames in the data stack ended, which tells how large it was.
    pub end: RemoteAddr,
    /// Its code object; null if something else lies there by now.
    pub code: RemoteAddr,
}

impl Leaf {
    /// Any frame in that place.
    #[must_use]
    pub fn of_any_code(self) -> Self {
        let code = RemoteAddr::NULL;
        Self { code, ..self }
    }
}

/// One evaluation loop that runs in a thread: one call of the interpreter's
/// function `_PyEval_EvalFrameDefault` (`Python/ceval.c`; `PyEval_EvalFrameEx`
/// in 2.7), and so one frame of the native stack.
///
/// To 3.10 each Python frame is run by a loop of its own. From 3.11 on a loop
/// runs the Python functions that it calls by itself, and from 3.12 on the
/// generators that it asks for their next value (`FOR_ITER_GEN`, `SEND_GEN`,
/// `Python/bytecodes.c`); what C code calls begins another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawLoop {
    /// How many Python frames it runs. None at all just after it began, and
    /// while it releases the locals of a frame that it has left, by which
    /// more Python code may be called.
    pub frames: usize,
    /// An address on the machine stack that belongs to the loop's native
    /// frame: of what the loop keeps there, from 3.10 on. `None` if it keeps
    /// nothing, or if that was not found as it must be.
    pub within: Option<RemoteAddr>,
}

/// How long something that changes only with what the target does is taken for
/// what it was without another look, where no look is cheap: shorter than the
/// interval of most recordings, so that those look at every sample, and one at
/// a higher rate is never further behind.
pub(crate) const TRUSTED: Duration = Duration::from_micros(900);

/// A count that changes whenever a code object of the interpreter goes, or
/// whenever one comes: while it stands still, an address that was a code
/// object's is still that code object's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeCounter {
    /// Whose count it is.
    pub interpreter: RemoteAddr,
    /// The count itself.
    pub count: u64,
}

/// Why a stack could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackError {
    /// Memory that should hold a frame could not be read.
    Read(ReadError),
    /// Two readings of it disagree: it changed meanwhile.
    Torn,
    /// More frames than are believed.
    TooDeep,
    /// Its newest frame is known, and not who has called that. Stacks have been seen that
    /// end in such a frame: the next one stands for this one too ([`RawStack::leaf`]).
    Deferred(Leaf),
    /// Something in it cannot be a frame.
    Garbage(RemoteAddr),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(e) => e.fmt(f),
            Self::Torn => f.write_str("the stack changed while it was read"),
            Self::TooDeep => write!(f, "more than {MAX_FRAMES} frames"),
            Self::Deferred(_) => f.write_str("the callers of its newest frame have gone on"),
            Self::Garbage(at) => write!(f, "no frame at {at}"),
        }
    }
}

impl std::error::Error for StackError {}

impl From<ReadError> for StackError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR (`Include/code.h`).
const GENERATOR: u32 = 0x20 | 0x80 | 0x200;
/// A recursion without limit fills memory before it gets here; a loop in
/// hostile memory ends here.
pub const MAX_FRAMES: usize = 1 << 19;

/// Counts the frames of a chain and ends one that comes back on itself, as a
/// torn or hostile one may: after at most twice its length (Brent's method),
/// without remembering where it has been.
#[derive(Debug, Default)]
struct Steps {
    taken: usize,
    /// The frame to be met again, and when to take another.
    mark: RemoteAddr,
    renew: usize,
}

impl Steps {
    fn count(&mut self, frame: RemoteAddr) -> Result<(), StackError> {
        if self.taken >= MAX_FRAMES {
            return Err(StackError::TooDeep);
        }
        if frame == self.mark {
            return Err(StackError::Garbage(frame));
        }
        if self.taken >= self.renew {
            self.mark = frame;
            self.renew = self.renew.saturating_mul(2).max(16);
        }
        self.taken += 1;
        Ok(())
    }
}

/// Whether the target's threads run while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// They run: a stack must be proved coherent.
    Running,
    /// The same, but they wait: what is read is kept for as long as they do, so none
    /// of it may be from before.
    Resting,
    /// They are stopped, or nothing can change for another reason.
    Stopped,
}

/// Reads stacks of one kind of interpreter.
#[derive(Debug)]
pub struct StackReader {
    kind: Kind,
    reach: Option<Reach>,
}

#[derive(Debug)]
enum Kind {
    Linked(Box<Linked>),
    DataStack(Box<DataStack>),
}

impl StackReader {
    /// A reader for this runtime's threads.
    ///
    /// # Errors
    /// [`MissingField`] if the layout lacks what its shape of stack needs.
    pub fn new(runtime: &Runtime) -> Result<Self, MissingField> {
        let layout = &runtime.layout;
        Ok(Self {
            kind: match Linked::new(layout) {
                Ok(linked) => Kind::Linked(Box::new(linked)),
                Err(_) => Kind::DataStack(Box::new(DataStack::new(layout)?)),
            },
            reach: Reach::new(layout),
        })
    }

    /// How to tell whether all that a stack is made of has been copied; `None` where that
    /// takes as long as to read it.
    pub fn reach(&self) -> Option<Reach> {
        self.reach
    }

    /// Makes it tell which loops run the frames. That takes one call more for
    /// each stack in 3.10 and 3.11, where frames do not lead to their loops.
    #[must_use]
    pub fn with_loops(mut self) -> Self {
        match &mut self.kind {
            Kind::Linked(linked) => linked.tell_loops(),
            Kind::DataStack(data_stack) => data_stack.tell_loops(),
        }
        self
    }

    /// Whether its stacks say who holds the interpreter's lock.
    pub fn tells_gil(&self) -> bool {
        match &self.kind {
            Kind::Linked(_) => false,
            Kind::DataStack(data_stack) => data_stack.tells_gil(),
        }
    }

    /// Reads the stack of the thread with this `PyThreadState`.
    ///
    /// # Errors
    /// [`StackError`]; a stack that is returned was coherent.
    pub fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        match &mut self.kind {
            Kind::Linked(linked) => linked.read(memory, thread, motion),
            Kind::DataStack(data_stack) => data_stack.read(memory, thread, motion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader can be handed to the thread that reads while another stands still.
    #[test]
    fn readers_move() {
        fn moves<T: Send>() {}
        moves::<StackReader>();
    }

    /// A loop of any length and beginning ends soon; a long straight chain does not.
    #[test]
    fn loops_end() {
        for (lead, length) in [(0, 1), (3, 1), (5, 7), (100, 64), (0, 5_000)] {
            let mut steps = Steps::default();
            let at = |step: u64| {
                let place = if step < lead {
                    step
                } else {
                    lead + (step - lead) % length
                };
                RemoteAddr::new(0x1000 + place * 16)
            };
            let end = (0..).find(|step| steps.count(at(*step)).is_err()).unwrap();
            assert!(end <= 4 * (lead + length) + 32, "{lead} {length}: {end}");
        }
        let mut steps = Steps::default();
        let straight = (1..200_000).all(|step| steps.count(RemoteAddr::new(step * 16)).is_ok());
        assert!(straight);
    }
}
