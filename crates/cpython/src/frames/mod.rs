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
use data_stack::{Chain, DataStack};
use linked::{Linked, Seen};
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

/// A stack of a moving thread as it was copied, some calls of which are not known yet.
///
/// To look at other moments until one's calls are known would show what is known already:
/// of a program that has just been attached to, what it does most. So it waits for later
/// looks to show that its calls are made ([`StackReader::prove`]).
#[derive(Debug)]
pub struct Unproved {
    thread: RemoteAddr,
    stack: RawStack,
    copied: Copied,
    /// What is sure at least, newest first.
    sure: Vec<RawFrame>,
    /// What was known when it was asked about last, and how often more was since.
    lessons: u64,
    asked: u32,
}

/// How often it is asked about a stack of which a part is sure.
const PATIENCE: u32 = 64;
/// After so many times one lesson more has to be learnt before the next, up to so many.
const OFTEN: u32 = 32;
const MOST_LESSONS: u64 = 16;

/// The same with what else is known of the copy.
#[derive(Debug)]
enum Copied {
    Linked(Vec<Seen>),
    DataStack(Chain),
}

impl Unproved {
    /// What was copied, some callers maybe not where they called from.
    pub fn stack(&self) -> &RawStack {
        &self.stack
    }

    /// The same up to the newest frame that is sure: what is shown if the rest is never told.
    /// `None` if such a one is to be lost.
    pub fn sure(&self) -> Option<RawStack> {
        (!self.sure.is_empty()).then(|| RawStack {
            frames: self.sure.clone(),
            loops: Vec::new(),
            codes: self.stack.codes,
            holds_gil: self.stack.holds_gil,
            leaf: None,
        })
    }

    /// Whether the rest will hardly be told any more.
    pub fn is_hopeless(&self) -> bool {
        !self.sure.is_empty() && self.asked >= PATIENCE
    }

    /// Has it asked about once more, whatever was learnt: it is the last time.
    pub fn ask_again(&mut self) {
        self.lessons = u64::MAX;
    }

    /// Whether enough more is known than when it was asked about last: the more often it was
    /// in vain, the more that is.
    fn is_news(&mut self, lessons: u64) -> bool {
        let enough = 1 + u64::from(self.asked / OFTEN).min(MOST_LESSONS);
        let is_news = self.lessons.abs_diff(lessons) >= enough;
        if is_news {
            self.lessons = lessons;
            self.asked = self.asked.saturating_add(1);
        }
        is_news
    }
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
    /// Some of its calls are not known yet: it waits for them to be
    /// ([`StackReader::take_unproved`]).
    Unproved,
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
            Self::Unproved => f.write_str("some of its calls were never seen before"),
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
    /// Of the last reading.
    unproved: Option<Unproved>,
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
            unproved: None,
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
        self.unproved = None;
        let (read, unproved) = match &mut self.kind {
            Kind::Linked(linked) => {
                let read = linked.read(memory, thread, motion);
                (read, linked.take_unproved())
            }
            Kind::DataStack(data_stack) => {
                let read = data_stack.read(memory, thread, motion);
                (read, data_stack.take_unproved())
            }
        };
        if read == Err(StackError::Unproved) {
            self.unproved = unproved;
        }
        read
    }

    /// Another thread has this state from now on, of which no stack was read yet: nothing
    /// is [deferred](StackError::Deferred) to one like those of the thread before.
    pub fn renew(&mut self, thread: RemoteAddr) {
        match &mut self.kind {
            Kind::Linked(_) => {}
            Kind::DataStack(data_stack) => data_stack.renew(thread),
        }
    }

    /// The stack that was read last, if that failed with [`StackError::Unproved`].
    pub fn take_unproved(&mut self) -> Option<Unproved> {
        self.unproved.take()
    }

    /// Whether all calls of a stack have become known since it was read, or it was last
    /// asked about: then it stands where it called from.
    pub fn prove(&mut self, memory: &dyn Memory, unproved: &mut Unproved) -> bool {
        match &mut self.kind {
            Kind::Linked(linked) => linked.place_later(memory, unproved),
            Kind::DataStack(data_stack) => data_stack.place_later(memory, unproved),
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
