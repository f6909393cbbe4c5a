//! Which loops run the frames of a stack.
//!
//! - From 3.12 on each loop has an entry frame of its own on the C stack
//!   (`_PyEval_EvalFrameDefault`, `Python/ceval.c`), which is the caller of its
//!   oldest frame. Its owner is `FRAME_OWNED_BY_CSTACK` to 3.13 and
//!   `FRAME_OWNED_BY_INTERPRETER` from 3.14 on.
//! - In 3.11 `is_entry` marks the oldest frame, and `_PyCFrame` on the C stack
//!   names the newest.

use firefinch_memory::RemoteAddr;

use crate::frames::c_frames::CFrame;
use crate::frames::{RawFrame, RawLoop};
use crate::layout::{Field, Layout};

/// The loops met while a stack is followed from its newest frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    wanted: bool,
    /// 3.15: below the oldest loop lies one entry frame more, in the thread
    /// state (`base_frame`, `Include/internal/pycore_tstate.h`).
    has_base: bool,
    found: Vec<RawLoop>,
    /// The frames of those.
    counted: usize,
}

impl Loops {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            has_base: layout.get(Field::TstateBaseFrame).is_some(),
            ..Self::default()
        }
    }

    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn wanted(&self) -> bool {
        self.wanted
    }

    /// Whether the oldest loop of a thread has an entry frame in the thread state.
    pub(super) fn has_base(&self) -> bool {
        self.has_base
    }

    /// Another stack is followed.
    pub(super) fn clear(&mut self) {
        self.found.clear();
        self.counted = 0;
    }

    /// After so many frames comes the entry frame at `addr`, called by `previous`.
    pub(super) fn meet_entry(&mut self, frames: usize, addr: RemoteAddr, previous: RemoteAddr) {
        if !(self.has_base && previous.is_null()) {
            self.push(frames, Some(addr));
        }
    }

    /// The last of so many frames is the oldest of its loop.
    pub(super) fn meet_oldest(&mut self, frames: usize) {
        self.push(frames, None);
    }

    /// There are so many frames in all.
    pub(super) fn end(&mut self, frames: usize) {
        if frames > self.counted {
            self.push(frames, None);
        }
    }

    fn push(&mut self, frames: usize, within: Option<RemoteAddr>) {
        if self.wanted {
            self.found.push(RawLoop {
                frames: frames - self.counted,
                within,
            });
            self.counted = frames;
        }
    }

    /// The loops of the stack followed last.
    pub(super) fn found(&self) -> Vec<RawLoop> {
        self.found.clone()
    }
}

/// The loops of 3.11: each `_PyCFrame` runs the frames from the one that it
/// names to the one that the next older names, but the newest none if it has just
/// begun. `None` if that does not give these frames.
pub(super) fn of_chain(frames: &[RawFrame], chain: &[CFrame]) -> Option<Vec<RawLoop>> {
    let begun = || chain.get(1..).filter(|older| older.len() > 1);
    divide(frames, chain).or_else(|| divide(frames, begun()?))
}

fn divide(frames: &[RawFrame], chain: &[CFrame]) -> Option<Vec<RawLoop>> {
    let mut rest = frames;
    let mut loops = Vec::with_capacity(chain.len());
    for (own, older) in chain.iter().zip(chain.iter().skip(1)) {
        let is_next = |frame: &RawFrame| frame.addr == older.current_frame;
        let frames = match older.current_frame.is_null() {
            true => rest.len(),
            false => rest.iter().position(is_next)?,
        };
        let newest = rest.first().map_or(RemoteAddr::NULL, |frame| frame.addr);
        if newest != own.current_frame {
            return None;
        }
        rest = rest.get(frames..)?;
        loops.push(RawLoop {
            frames,
            within: Some(own.addr),
        });
    }
    rest.is_empty().then_some(loops)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Position;

    fn frames(addrs: &[u64]) -> Vec<RawFrame> {
        let frame = |addr: &u64| RawFrame {
            addr: RemoteAddr::new(*addr),
            code: RemoteAddr::new(1),
            position: Position::Offset(0),
        };
        addrs.iter().map(frame).collect()
    }

    /// Each loop's own, and the newest frame that it runs.
    fn chain(links: &[(u64, u64)]) -> Vec<CFrame> {
        let c_frame = |(addr, current): &(u64, u64)| {
            CFrame::new(RemoteAddr::new(*addr), RemoteAddr::new(*current))
        };
        links.iter().map(c_frame).collect()
    }

    fn counts(frames: &[RawFrame], chain: &[CFrame]) -> Option<Vec<usize>> {
        let loops = of_chain(frames, chain)?;
        let own = loops.iter().zip(chain);
        assert!(own.clone().all(|(own, c)| own.within == Some(c.addr)));
        Some(own.map(|(own, _)| own.frames).collect())
    }

    /// The frames of 3.11 are divided where the loops say, also if one runs none; where that does not fit it is not believed.
    #[test]
    fn chains_divide_frames() {
        let stack = frames(&[50, 40, 30, 20, 10]);
        let two = chain(&[(1, 50), (2, 30), (9, 0)]);
        assert_eq!(counts(&stack, &two), Some(vec![2, 3]));
        let empty = chain(&[(1, 50), (2, 30), (3, 30), (9, 0)]);
        assert_eq!(counts(&stack, &empty), Some(vec![2, 0, 3]));
        let newest = chain(&[(1, 50), (2, 50), (9, 0)]);
        assert_eq!(counts(&stack, &newest), Some(vec![0, 5]));
        assert_eq!(counts(&frames(&[]), &chain(&[(9, 0)])), Some(vec![]));
        // The newest has not set its own yet.
        let begun = chain(&[(7, 99), (1, 50), (2, 30), (9, 0)]);
        assert_eq!(of_chain(&stack, &begun), of_chain(&stack, &two));
        // Of another moment: the newest frame, one between, the oldest.
        assert_eq!(counts(&stack, &chain(&[(1, 40), (2, 30), (9, 0)])), None);
        assert_eq!(counts(&stack, &chain(&[(1, 50), (2, 35), (9, 0)])), None);
        assert_eq!(counts(&stack, &chain(&[(1, 50), (9, 20)])), None);
        assert_eq!(counts(&stack, &chain(&[(9, 0)])), None);
        assert_eq!(counts(&frames(&[]), &chain(&[(1, 50), (9, 0)])), None);
    }

    /// Entry frames end loops, the one in the thread state begins none, and what has no entry frame is a loop as well.
    #[test]
    fn entry_frames() {
        let at = RemoteAddr::new;
        let own = |frames, within| RawLoop { frames, within };
        let mut loops = Loops {
            has_base: true,
            ..Loops::default()
        };
        loops.meet_entry(2, at(100), at(7));
        assert_eq!(loops.found(), []);
        loops.want();
        for _ in 0..2 {
            loops.clear();
            loops.meet_entry(0, at(90), at(7));
            loops.meet_entry(2, at(100), at(8));
            loops.meet_oldest(3);
            loops.meet_entry(3, at(200), at(0));
            loops.end(5);
            let entries = [own(0, Some(at(90))), own(2, Some(at(100)))];
            assert_eq!(loops.found()[..2], entries);
            assert_eq!(loops.found()[2..], [own(1, None), own(2, None)]);
        }
    }
}
