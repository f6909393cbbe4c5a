use firefinch_native::Origin;

use crate::native::{NativeFrame, Role};

/// Which native frames are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Not the interpreter's own: its loop, how it calls, how it starts.
    #[default]
    Folded,
    /// All.
    All,
}

/// Which native frames of a stack are the interpreter's own business.
pub(crate) struct Fold<'a> {
    frames: &'a [NativeFrame],
    /// The frames that run Python frames, newest first.
    loops: &'a [usize],
    /// The file that these are in.
    interpreter: Option<&'a Origin>,
    /// From here on to the oldest they only start a thread.
    begun: usize,
}

impl<'a> Fold<'a> {
    pub(crate) fn new(frames: &'a [NativeFrame], loops: &'a [usize]) -> Self {
        let mut begun = frames.len();
        for (index, frame) in frames.iter().enumerate().rev() {
            match frame.place.role {
                Role::Startup | Role::Machinery => begun = index,
                // Of a C library without symbols some have no name.
                Role::Other if frame.place.is_unnamed() => {}
                Role::Other | Role::Loop => break,
            }
        }
        let newest = loops.first().and_then(|newest| frames.get(*newest));
        Self {
            frames,
            loops,
            interpreter: newest.and_then(|frame| frame.place.origin.as_ref()),
            begun,
        }
    }

    /// Whether the frame is left out, by its place from the newest.
    pub(crate) fn hides(&self, index: usize) -> bool {
        let Some(frame) = self.frames.get(index) else {
            return true;
        };
        if index >= self.begun || self.loops.binary_search(&index).is_ok() {
            return true;
        }
        match frame.place.role {
            Role::Loop | Role::Machinery => true,
            Role::Startup => false,
            // Between loops those of an interpreter without symbols are most
            // likely machinery.
            Role::Other => {
                let below = self.loops.first().is_some_and(|newest| *newest < index);
                below && frame.place.is_unnamed() && self.interpreter == frame.place.origin.as_ref()
            }
        }
    }
}
