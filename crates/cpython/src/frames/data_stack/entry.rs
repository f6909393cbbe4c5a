use firefinch_memory::{Bytes, RemoteAddr};

use crate::layout::{Field, Layout, MissingField};

/// Where a thread state keeps what leads to its stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryLayout {
    /// `tstate->current_frame`, or `tstate->cframe`.
    frame: usize,
    /// `cframe->current_frame`, in 3.11 and 3.12.
    through: Option<usize>,
    /// `tstate->datastack_chunk` and `tstate->datastack_top`
    chunk: usize,
    top: usize,
    interpreter: usize,
    lock: Option<Lock>,
    /// The bytes that hold all of the above.
    pub(super) first: usize,
    pub(super) span: usize,
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

/// What a thread state said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The current frame, or what leads to it in 3.11 and 3.12.
    pub(super) frame: RemoteAddr,
    /// The newest chunk of the data stack, and where the next frame would begin.
    pub(super) chunk: RemoteAddr,
    pub(super) top: RemoteAddr,
    pub(super) interpreter: RemoteAddr,
    pub(super) holds_gil: Option<bool>,
}

/// `_Py_THREAD_ATTACHED` (`Include/internal/pycore_pystate.h`, 3.13): with a
/// lock, only its holder is.
const ATTACHED: u32 = 1;

/// The widest counter.
pub(super) const COUNTER_BYTES: usize = 8;

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
        let fields = [frame, chunk, top, interpreter];
        let fields = fields.into_iter().chain(lock.map(|lock| lock.offset));
        let first = fields.clone().min().unwrap_or(frame);
        let last = fields.max().unwrap_or(frame);
        // Incremented before a code object is freed (`code_dealloc`,
        // `Objects/codeobject.c`, from 3.14 on); in 3.13 each new one takes its
        // version from a counter (`init_code`, same file).
        let freed = layout.get(Field::InterpCodeObjectGeneration);
        let made = layout.get(Field::InterpNextFunctionVersion);
        let counter = |wide| move |offset| Counter { offset, wide };
        Ok(Self {
            frame,
            through,
            chunk,
            top,
            interpreter,
            lock,
            first,
            span: last + 8 - first,
            code_counter: freed.map(counter(true)).or(made.map(counter(false))),
        })
    }

    /// Has the bytes reach to the end of a thread state of this size.
    pub(super) fn widen(&mut self, size: usize) {
        self.span = self.span.max(size.saturating_sub(self.first));
    }

    /// How much of the bytes lies before the current frame. In some of it
    /// (`py_recursion_remaining`) the thread counts its calls: it waits with its next
    /// call or return until it has that memory back once it has been copied, so what
    /// is copied after it is the moment before a call too often.
    pub(super) fn before_frame(&self) -> usize {
        match self.through {
            Some(_) => 0,
            None => self.frame - self.first,
        }
    }

    /// Decodes the bytes from [`first`](Self::first) on.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<Entry> {
        let view = Bytes(bytes);
        let at = |offset: usize| view.ptr(offset - self.first);
        Some(Entry {
            frame: at(self.frame)?,
            chunk: at(self.chunk)?,
            top: at(self.top)?,
            interpreter: at(self.interpreter)?,
            holds_gil: match self.lock {
                Some(lock) => Some(view.u32(lock.offset - self.first)? == lock.value),
                None => None,
            },
        })
    }

    /// Whether thread states say who holds the interpreter's lock.
    pub(super) fn tells_gil(&self) -> bool {
        self.lock.is_some()
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
