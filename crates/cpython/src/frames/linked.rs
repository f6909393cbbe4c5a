use firefinch_memory::{Bytes, Memory, Range, RemoteAddr};

use super::{Motion, Position, RawFrame, RawStack, StackError, Steps};
use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;

/// Frames as heap objects linked by `f_back` (`Include/frameobject.h`, to 3.10).
#[derive(Debug)]
pub(super) struct Linked {
    thread_frame: usize,
    back: usize,
    code: usize,
    last_instruction: usize,
    /// Bytes per unit of `f_lasti`.
    unit: i32,
    /// The bytes of a frame that are read: from the first field needed to the last.
    first: usize,
    span: usize,
}

impl Linked {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let back = layout.need(Field::FrameBack)?;
        let code = layout.need(Field::FrameCode)?;
        let last_instruction = layout.need(Field::FrameLasti)?;
        let used = [back, code, last_instruction];
        let first = used.into_iter().min().unwrap_or(0);
        let last = used.into_iter().max().unwrap_or(0);
        Ok(Self {
            thread_frame: layout.need(Field::TstateFrame)?,
            back,
            code,
            last_instruction,
            unit: LineEncoding::of(layout).frame_unit(),
            first,
            span: last + 8 - first,
        })
    }

    /// One frame and its caller.
    fn decode(&self, addr: RemoteAddr, bytes: &[u8]) -> Option<(RawFrame, RemoteAddr)> {
        let view = Bytes(bytes);
        let at = |field: usize| field - self.first;
        // `f_lineno` is kept up only while a frame is traced; the instruction always.
        let last_instruction = view.i32(at(self.last_instruction))?;
        let position = Position::Offset(last_instruction.saturating_mul(self.unit));
        let frame = RawFrame {
            addr,
            code: view.ptr(at(self.code))?,
            position,
        };
        Some((frame, view.ptr(at(self.back))?))
    }

    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        let top = thread.offset(self.thread_frame as u64);
        let mut frames = Vec::new();
        let mut addr = memory.read_ptr(top)?;
        let mut bytes = vec![0; self.span];
        let mut steps = Steps::default();
        while !addr.is_null() {
            steps.count(addr)?;
            memory.read(addr.offset(self.first as u64), &mut bytes)?;
            let (frame, back) = self.decode(addr, &bytes).ok_or(StackError::Garbage(addr))?;
            if frame.code.is_null() {
                return Err(StackError::Garbage(addr));
            }
            frames.push(frame);
            addr = back;
        }
        let stack = RawStack { frames };
        if motion == Motion::Running {
            self.confirm(memory, top, &stack)?;
        }
        Ok(stack)
    }

    /// Reads the whole chain once more and compares: every caller must stand
    /// where it stood; only the newest frame may have moved on, within its code.
    fn confirm(
        &self,
        memory: &dyn Memory,
        top: RemoteAddr,
        stack: &RawStack,
    ) -> Result<(), StackError> {
        let mut head = [0; 8];
        let mut copies = vec![0; self.span * stack.frames.len()];
        let mut ranges = Vec::with_capacity(stack.frames.len() + 1);
        ranges.push(Range {
            addr: top,
            buf: &mut head,
        });
        for (frame, buf) in stack.frames.iter().zip(copies.chunks_exact_mut(self.span)) {
            let addr = frame.addr.offset(self.first as u64);
            ranges.push(Range { addr, buf });
        }
        let wanted = ranges.len();
        if memory.read_scattered(&mut ranges) != wanted {
            return Err(StackError::Torn);
        }
        let mut expected = RemoteAddr::new(u64::from_le_bytes(head));
        for (index, frame) in stack.frames.iter().enumerate() {
            let bytes = &copies[index * self.span..][..self.span];
            let (again, back) = self.decode(frame.addr, bytes).ok_or(StackError::Torn)?;
            let stands = index == 0 || again.position == frame.position;
            if expected != frame.addr || again.code != frame.code || !stands {
                return Err(StackError::Torn);
            }
            expected = back;
        }
        if expected.is_null() {
            Ok(())
        } else {
            Err(StackError::Torn)
        }
    }
}
