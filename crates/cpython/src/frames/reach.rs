//! Whether all that a stack is made of has been copied.

use firefinch_memory::{Bytes, RemoteAddr};

use super::Steps;
use crate::layout::{Field, Layout};

/// Goes from frame to frame of a stack in the data stack (from 3.11 on), looking at
/// nothing but where each leads: so that a thread that stands still may go on as soon as
/// all of them are copied, and what they say can be read in the copy.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// `tstate->current_frame`, or `tstate->cframe` in 3.11 and 3.12.
    entry: usize,
    /// `cframe->current_frame` there.
    through: Option<usize>,
    /// `tstate->datastack_chunk` and `tstate->datastack_top`
    chunk: usize,
    top: usize,
    previous: usize,
    /// The bytes of a frame that tell what it is.
    header: usize,
    loops: Option<Loops>,
}

/// What loops keep on the C stack in 3.11, which frames do not lead to.
#[derive(Clone, Copy, Debug)]
struct Loops {
    previous: usize,
    span: usize,
    /// The size of the thread state, in which the oldest lies.
    thread_size: usize,
}

impl Reach {
    /// `None` where frames are objects of their own.
    pub(super) fn new(layout: &Layout) -> Option<Self> {
        let through = layout.get(Field::CframeCurrentFrame);
        let (entry, through) = match layout.get(Field::TstateCurrentFrame) {
            Some(current) => (current, None),
            None => (layout.get(Field::TstateCframe)?, Some(through?)),
        };
        let ends = [
            (Field::IframePrevious, 8),
            (Field::IframeExecutable, 8),
            (Field::IframeFunction, 8),
            (Field::IframeInstr, 8),
            (Field::IframeOwner, 1),
            (Field::IframeIsEntry, 1),
            (Field::IframeStacktop, 4),
            (Field::IframeTlbcIndex, 4),
        ];
        let ends = ends.into_iter();
        let ends = ends.filter_map(|(field, len)| Some(layout.get(field)? + len));
        Some(Self {
            entry,
            through,
            chunk: layout.get(Field::TstateDatastackChunk)?,
            top: layout.get(Field::TstateDatastackTop)?,
            previous: layout.get(Field::IframePrevious)?,
            header: ends.max()?,
            loops: Loops::new(layout, through),
        })
    }

    /// Whether all of the stack of this thread is in what `copied` finds: the bytes at
    /// an address, if so many were copied in one piece.
    pub fn is_in<'a>(
        &self,
        thread: RemoteAddr,
        copied: impl Fn(RemoteAddr, usize) -> Option<&'a [u8]>,
    ) -> bool {
        self.follow(thread, copied).is_some()
    }

    fn follow<'a>(
        &self,
        thread: RemoteAddr,
        copied: impl Fn(RemoteAddr, usize) -> Option<&'a [u8]>,
    ) -> Option<()> {
        let pointer = |addr: RemoteAddr, offset: usize| {
            let bytes = copied(addr.offset(offset as u64), 8)?;
            Bytes(bytes).ptr(0)
        };
        let entry = pointer(thread, self.entry)?;
        let mut frame = match self.through {
            Some(offset) if !entry.is_null() => pointer(entry, offset)?,
            _ => entry,
        };
        if !frame.is_null() {
            // Whoever reads the stack wants all of it.
            let (chunk, top) = (pointer(thread, self.chunk)?, pointer(thread, self.top)?);
            copied(chunk, usize::try_from(top.checked_sub(chunk)?).ok()?)?;
        }
        let mut steps = Steps::default();
        while !frame.is_null() {
            steps.count(frame).ok()?;
            frame = Bytes(copied(frame, self.header)?).ptr(self.previous)?;
        }
        if let Some(loops) = &self.loops {
            loops.follow(thread, entry, copied)?;
        }
        Some(())
    }
}

impl Loops {
    fn new(layout: &Layout, current: Option<usize>) -> Option<Self> {
        if layout.get(Field::OwnerCstack).is_some() {
            return None;
        }
        let previous = layout.get(Field::CframePrevious)?;
        Some(Self {
            previous,
            span: previous.max(current.unwrap_or(0)) + 8,
            thread_size: layout.get(Field::TstateSize)?,
        })
    }

    fn follow<'a>(
        &self,
        thread: RemoteAddr,
        newest: RemoteAddr,
        copied: impl Fn(RemoteAddr, usize) -> Option<&'a [u8]>,
    ) -> Option<()> {
        let mut steps = Steps::default();
        let mut addr = newest;
        loop {
            steps.count(addr).ok()?;
            let bytes = copied(addr, self.span)?;
            let inside = addr.checked_sub(thread);
            if inside.is_some_and(|inside| inside < self.thread_size as u64) {
                return Some(());
            }
            addr = Bytes(bytes).ptr(self.previous)?;
        }
    }
}
