use firefinch_memory::{Bytes, Memory, RemoteAddr};

use crate::layout::{Field, Layout, MissingField};

/// Where a thread state keeps what leads to its stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLayout {
    /// `cframe->current_frame`, in 3.11 and 3.12.
    through: Option<usize>,
    /// `cframe->previous`
    previous: Option<usize>,
    /// `tstate->datastack_chunk` and `tstate->datastack_top`
    chunk: usize,
    top: usize,
    interpreter: usize,
    lock: Option<Lock>,
    /// `tstate->current_frame`, or `tstate->cframe`: alone, because a thread waits with its
    /// next store to memory that has just been copied, and it pushes a frame by storing where
    /// it ends before it makes that the current one. With both in one piece as many as one
    /// stack in five was shown at the caller of its newest frame (3.14, processors 150 ns from
    /// each other).
    pub(super) newest: Piece,
    /// The bytes that tell where the frames lie.
    pub(super) stack: Piece,
    /// The bytes that tell whose the thread is and whether it holds the lock.
    pub(super) owner: Piece,
    /// A counter in the interpreter that stands still while no code object
    /// goes or comes.
    code_counter: Option<Counter>,
}

/// Where the counter is, and how wide.
#[derive(Clone, Copy, Debug)]
struct Counter {
    offset: usize,
    wide: bool,
}

/// How a thread state says that it holds the interpreter's lock: an `int` that
/// then has this value.
#[derive(Clone, Copy, Debug)]
struct Lock {
    offset: usize,
    value: u32,
}

/// Bytes of a thread state that are copied together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    first: usize,
    len: usize,
}

/// What a thread state said of its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The current frame, or what leads to it in 3.11 and 3.12.
    pub(super) frame: RemoteAddr,
    /// The newest chunk of the data stack, and where the next frame would begin.
    pub(super) chunk: RemoteAddr,
    pub(super) top: RemoteAddr,
}

/// What a thread state said of the interpreter that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) interpreter: RemoteAddr,
    pub(super) holds_gil: Option<bool>,
}

/// `_Py_THREAD_ATTACHED` (`Include/internal/pycore_pystate.h`, 3.13): with a
/// lock, only its holder is.
const ATTACHED: u32 = 1;

/// The widest counter.
pub(super) const COUNTER_BYTES: usize = 8;

impl Piece {
    /// The bytes that hold the pointers at these offsets.
    fn of(offsets: impl Iterator<Item = usize> + Clone) -> Self {
        let first = offsets.clone().min().unwrap_or_default();
        let last = offsets.max().unwrap_or_default();
        Self {
            first,
            len: last + 8 - first,
        }
    }

    /// Where it is in the thread state at `thread`, and its length.
    pub(super) fn at(self, thread: RemoteAddr) -> (RemoteAddr, usize) {
        (thread.offset(self.first as u64), self.len)
    }
}

impl EntryLayout {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let (frame, through) = match layout.get(Field::TstateCurrentFrame) {
            Some(current) => (current, None),
            None => (
                layout.need(Field::TstateCframe)?,
                Some(layout.need(Field::CframeCurrentFrame)?),
            ),
        };
        let chunk = layout.need(Field::TstateDatastackChunk)?;
        let top = layout.need(Field::TstateDatastackTop)?;
        let interpreter = layout.need(Field::TstateInterp)?;
        let lock = |value| move |offset| Lock { offset, value };
        let lock = match layout.build().is_free_threaded() {
            true => None,
            // `take_gil`, `Python/ceval_gil.c`, from 3.14 on.
            false => layout
                .get(Field::TstateHoldsGil)
                .map(lock(1))
                .or(layout.get(Field::TstateState).map(lock(ATTACHED))),
        };
        // Incremented before a code object is freed (`code_dealloc`,
        // `Objects/codeobject.c`, from 3.14 on); in 3.13 each new one takes its
        // version from a counter (`init_code`, same file).
        let freed = layout.get(Field::InterpCodeObjectGeneration);
        let made = layout.get(Field::InterpNextFunctionVersion);
        let counter = |wide| move |offset| Counter { offset, wide };
        Ok(Self {
            through,
            previous: layout.get(Field::CframePrevious),
            chunk,
            top,
            interpreter,
            lock,
            newest: Piece::of([frame].into_iter()),
            stack: Piece::of([chunk, top].into_iter()),
            owner: Piece::of(
                [interpreter]
                    .into_iter()
                    .chain(lock.map(|lock| lock.offset)),
            ),
            code_counter: freed.map(counter(true)).or(made.map(counter(false))),
        })
    }

    /// Has what leads to the stack reach to the end of a thread state of this size.
    pub(super) fn widen(&mut self, size: usize) {
        let stack = &mut self.stack;
        stack.len = stack.len.max(size.saturating_sub(stack.first));
    }

    /// Decodes the pieces that lead to the stack.
    pub(super) fn decode(&self, newest: &[u8], stack: &[u8]) -> Option<Entry> {
        let stack = Bytes(stack);
        let at = |offset: usize| stack.ptr(offset - self.stack.first);
        Some(Entry {
            frame: Bytes(newest).ptr(0)?,
            chunk: at(self.chunk)?,
            top: at(self.top)?,
        })
    }

    /// Decodes the piece that tells whose the thread is.
    pub(super) fn decode_owner(&self, bytes: &[u8]) -> Option<Owner> {
        let view = Bytes(bytes);
        Some(Owner {
            interpreter: view.ptr(self.interpreter - self.owner.first)?,
            holds_gil: match self.lock {
                Some(lock) => Some(view.u32(lock.offset - self.owner.first)? == lock.value),
                None => None,
            },
        })
    }

    /// Whether thread states say who holds the interpreter's lock.
    pub(super) fn tells_gil(&self) -> bool {
        self.lock.is_some()
    }

    /// Where the current frame of the loop before is kept, if the newest keeps its own at
    /// `through`.
    pub(super) fn before(&self, memory: &dyn Memory, through: RemoteAddr) -> Option<RemoteAddr> {
        let (current, previous) = (self.through?, self.previous?);
        let newest = RemoteAddr::new(through.get().checked_sub(current as u64)?);
        let before = memory.read_ptr(newest.offset(previous as u64)).ok()?;
        (!before.is_null()).then(|| before.offset(current as u64))
    }

    /// Where the current frame is kept, if the thread state only leads there.
    pub(super) fn through(&self, entry: &Entry) -> Option<RemoteAddr> {
        let offset = self.through?;
        (!entry.frame.is_null()).then(|| entry.frame.offset(offset as u64))
    }

    /// Where the interpreter's counter of code objects is.
    pub(super) fn counter_at(&self, interpreter: RemoteAddr) -> Option<RemoteAddr> {
        let counter = self.code_counter?;
        (!interpreter.is_null()).then(|| interpreter.offset(counter.offset as u64))
    }

    /// Its value; `None` where it has run out and counts no longer.
    pub(super) fn counter(&self, bytes: &[u8]) -> Option<u64> {
        let view = Bytes(bytes);
        let counter = self.code_counter?;
        if counter.wide {
            return view.u64(0);
        }
        view.u32(0).map(u64::from).filter(|value| *value != 0)
    }
}
