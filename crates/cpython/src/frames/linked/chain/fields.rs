//! What a frame object says of itself, and where.

use firefinch_memory::{Bytes, RemoteAddr};

use super::Seen;
use crate::frames::{Position, RawFrame};
use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;

#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    reference_count: usize,
    back: usize,
    code: usize,
    last_instruction: usize,
    /// Bytes per unit of `f_lasti`.
    unit: i32,
    executing: Executing,
    /// The bytes of a frame that are copied.
    pub(super) span: usize,
}

/// What says that a frame is executing.
#[derive(Clone, Copy, Debug)]
enum Executing {
    /// 2.7: `f_stacktop` is null from the begin of the evaluation loop on, and
    /// set when a generator yields (`PyEval_EvalFrameEx`, `Python/ceval.c`).
    NoStackTop(usize),
    /// 3.6 to 3.9: `f_executing`.
    Flag(usize),
    /// 3.10: `f_state` has this value.
    State(usize, u8),
}

impl Fields {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let executing = if let Some(flag) = layout.get(Field::FrameExecuting) {
            Executing::Flag(flag)
        } else if let Some(state) = layout.get(Field::FrameState) {
            let value = layout.need(Field::StateExecuting)?;
            let missing = MissingField(Field::StateExecuting);
            Executing::State(state, u8::try_from(value).map_err(|_| missing)?)
        } else {
            Executing::NoStackTop(layout.need(Field::FrameStacktop)?)
        };
        let back = layout.need(Field::FrameBack)?;
        let code = layout.need(Field::FrameCode)?;
        let last_instruction = layout.need(Field::FrameLasti)?;
        let reference_count = layout.need(Field::ObjectRefCount)?;
        let mark = match executing {
            Executing::NoStackTop(at) | Executing::Flag(at) | Executing::State(at, _) => at,
        };
        let used = [back, code, last_instruction, reference_count, mark];
        Ok(Self {
            reference_count,
            back,
            code,
            last_instruction,
            unit: LineEncoding::of(layout).frame_unit(),
            executing,
            span: used.into_iter().max().unwrap_or(0) + 8,
        })
    }

    /// One frame and its caller.
    pub(super) fn decode(&self, addr: RemoteAddr, bytes: &[u8]) -> Option<(Seen, RemoteAddr)> {
        let view = Bytes(bytes);
        // `f_lineno` is kept up only while a frame is traced; the instruction always.
        let last_instruction = view.i32(self.last_instruction)?;
        let frame = RawFrame {
            addr,
            code: view.ptr(self.code)?,
            position: Position::Offset(last_instruction.saturating_mul(self.unit)),
        };
        let executing = match self.executing {
            Executing::NoStackTop(at) => view.ptr(at)?.is_null(),
            Executing::Flag(at) => view.u8(at)? != 0,
            Executing::State(at, value) => view.u8(at)? == value,
        };
        let lives = executing && view.u64(self.reference_count)? > 0;
        let caller = view.ptr(self.back)?;
        (!frame.code.is_null()).then_some((Seen { frame, lives }, caller))
    }
}
