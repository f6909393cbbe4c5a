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

/// What a thread state said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The current frame, or what leads to it in 3.11 and 3.12.
    pub(super) frame: RemoteAddr,
    /// The newest chunk of the data stack, and where the next frame would begin.
    pub(super) chunk: RemoteAddr,
    pub(super) top: RemoteAddr,
    pub(super) interpreter: RemoteAddr,
}

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
        let first = frame.min(chunk).min(top).min(interpreter);
        let last = frame.max(chunk).max(top).max(interpreter);
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
            first,
            span: last + 8 - first,
            code_counter: freed.map(counter(true)).or(made.map(counter(false))),
        })
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
        })
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
