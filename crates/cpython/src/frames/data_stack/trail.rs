//! The older part of a stack, which mostly is what it was at the last look: as long
//! as its bytes are the same it leads where it led, and is not followed again.

use std::time::Instant;

use firefinch_memory::RemoteAddr;

use super::known::is_fresh;
use crate::frames::RawFrame;

/// Frames of one chunk down to the oldest of the thread, as they were followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    /// Newest first, and so by address from the highest to the lowest.
    frames: Vec<RawFrame>,
    marks: Vec<Mark>,
    passed: Vec<Passed>,
    /// The chunk, and its bytes up to the end of the newest of these frames.
    chunk: RemoteAddr,
    bytes: Vec<u8>,
}

/// What else a frame said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) executing: bool,
    /// Its caller has called it in its own loop.
    pub(super) inlined: bool,
    /// It lived for certain.
    pub(super) alive: bool,
}

/// One of the interpreter's own frames between two of these, which is not read each
/// time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) addr: RemoteAddr,
    /// The frame that it called.
    pub(super) callee: RemoteAddr,
    /// When it was read.
    pub(super) at: Instant,
}

/// What is left of a trail below some frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    pub(super) frames: &'a [RawFrame],
    pub(super) marks: &'a [Mark],
    pub(super) passed: &'a [Passed],
}

impl Rest<'_> {
    /// Whether its newest frame has the mark of one that executes.
    pub(super) fn executes(&self) -> bool {
        self.marks.first().is_some_and(|mark| mark.executing)
    }
}

/// Bytes compared at a time.
const BLOCK: usize = 256;
/// Shorter ones are followed as fast.
const SHORTEST: usize = 4;

impl Trail {
    /// How many bytes of `chunk` are as they were, given what they are now.
    pub(super) fn same(&self, chunk: RemoteAddr, now: &[u8]) -> usize {
        if chunk != self.chunk {
            return 0;
        }
        let blocks = self.bytes.chunks(BLOCK).zip(now.chunks(BLOCK));
        let same = blocks.take_while(|(was, is)| is.get(..was.len()) == Some(was));
        same.map(|(was, _)| was.len()).sum()
    }

    /// What lies from the frame at `addr` down, if that frame, of `span` bytes, ends
    /// within the `same` bytes that are as they were.
    pub(super) fn rest(
        &self,
        addr: RemoteAddr,
        span: usize,
        same: usize,
        now: Instant,
    ) -> Option<Rest<'_>> {
        let end = usize::try_from(addr.checked_sub(self.chunk)?).ok()?;
        let end = end.checked_add(span)?;
        if end > same {
            return None;
        }
        let first = self.frames.partition_point(|frame| frame.addr > addr);
        let frames = self.frames.get(first..)?;
        if frames.first()?.addr != addr {
            return None;
        }
        let passed = self.passed.partition_point(|passed| passed.callee > addr);
        let passed = self.passed.get(passed..)?;
        let fresh = passed.iter().all(|passed| is_fresh(passed.at, now));
        fresh.then_some(Rest {
            frames,
            marks: self.marks.get(first..)?,
            passed,
        })
    }

    /// Keeps these frames, each of `span` bytes, if they all lie in `chunk`, of which
    /// `bytes` were copied; otherwise there is no trail.
    pub(super) fn keep(
        &mut self,
        rest: Rest<'_>,
        span: usize,
        (chunk, bytes): (RemoteAddr, &[u8]),
    ) {
        let frames = rest.frames;
        self.frames.clear();
        self.marks.clear();
        self.passed.clear();
        self.bytes.clear();
        let Some(newest) = frames.first().filter(|_| frames.len() >= SHORTEST) else {
            return;
        };
        let is_older = |pair: (&RawFrame, &RawFrame)| pair.0.addr > pair.1.addr;
        let inside = frames.last().is_some_and(|last| last.addr > chunk)
            && frames.iter().zip(frames.iter().skip(1)).all(is_older);
        let end = newest.addr.checked_sub(chunk);
        let end = end.and_then(|end| usize::try_from(end).ok()?.checked_add(span));
        let Some(bytes) = end.and_then(|end| bytes.get(..end)).filter(|_| inside) else {
            return;
        };
        self.chunk = chunk;
        self.bytes.extend_from_slice(bytes);
        self.frames.extend_from_slice(frames);
        self.marks.extend_from_slice(rest.marks);
        let below = rest
            .passed
            .iter()
            .filter(|passed| passed.callee <= newest.addr);
        self.passed.extend(below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Position, TRUSTED};

    /// A chunk at 0x1000 with a frame every 64 bytes, from 0x1010 on.
    fn stack(depth: u64) -> (Vec<RawFrame>, Vec<Mark>, Vec<u8>) {
        let frame = |index: u64| RawFrame {
            addr: RemoteAddr::new(0x1010 + index * 64),
            code: RemoteAddr::new(index),
            position: Position::Offset(0),
        };
        let frames: Vec<_> = (0..depth).rev().map(frame).collect();
        let mark = Mark {
            executing: false,
            inlined: true,
            alive: true,
        };
        let bytes = (0..0x10 + depth * 64).map(|at| (at % 251) as u8).collect();
        let marks = vec![mark; frames.len()];
        (frames, marks, bytes)
    }

    fn rest<'a>(frames: &'a [RawFrame], marks: &'a [Mark], passed: &'a [Passed]) -> Rest<'a> {
        Rest {
            frames,
            marks,
            passed,
        }
    }

    /// What lies below a frame is told as long as all bytes up to that frame's end are
    /// what they were, and what is passed there was read a moment ago.
    #[test]
    fn only_what_is_the_same_is_told() {
        let chunk = RemoteAddr::new(0x1000);
        let at = |index: u64| RemoteAddr::new(0x1010 + index * 64);
        let (frames, marks, mut bytes) = stack(20);
        let now = Instant::now();
        let passed = [Passed {
            addr: RemoteAddr::new(0x9000),
            callee: at(5),
            at: now,
        }];
        let mut trail = Trail::default();
        trail.keep(rest(&frames, &marks, &passed), 48, (chunk, &bytes));
        let same = trail.same(chunk, &bytes);
        let rest = trail.rest(at(19), 48, same, now).unwrap();
        assert_eq!((rest.frames, rest.passed.len()), (&frames[..], 1));
        let rest = trail.rest(at(4), 48, same, now).unwrap();
        assert_eq!((rest.frames, rest.passed.len()), (&frames[15..], 0));
        assert_eq!(rest.marks.len(), 5);
        assert!(trail.rest(at(4).offset(8), 48, same, now).is_none());
        assert!(trail.rest(at(20), 48, same, now).is_none());
        assert!(trail.rest(at(6), 48, same, now + TRUSTED).is_none());
        assert!(trail.rest(at(4), 48, same, now + TRUSTED).is_some());
        assert_eq!(trail.same(at(0), &bytes), 0);
        // Less was copied.
        let same = trail.same(chunk, &bytes[..600]);
        assert!(same <= 600, "{same}");
        // Frame 10 has gone on.
        bytes[0x10 + 10 * 64 + 8] ^= 1;
        let same = trail.same(chunk, &bytes);
        assert!(trail.rest(at(10), 48, same, now).is_none());
        assert!(trail.rest(at(4), 48, same, now).is_some());
    }

    /// There is no trail where a frame lies elsewhere, or was not copied.
    #[test]
    fn all_frames_lie_in_the_chunk() {
        let chunk = RemoteAddr::new(0x1000);
        let (frames, marks, bytes) = stack(8);
        let newest = frames[0].addr;
        let told = |frames: &[RawFrame], bytes: &[u8]| {
            let mut trail = Trail::default();
            trail.keep(rest(frames, &marks, &[]), 48, (chunk, bytes));
            let same = trail.same(chunk, bytes);
            trail.rest(newest, 48, same, Instant::now()).is_some()
        };
        assert!(told(&frames, &bytes));
        assert!(!told(&frames, &bytes[..400]));
        assert!(!told(&frames[..3], &bytes));
        let mut elsewhere = frames.clone();
        elsewhere[4].addr = RemoteAddr::new(0x8000);
        assert!(!told(&elsewhere, &bytes));
        let mut below = frames;
        below[7].addr = RemoteAddr::new(0x800);
        assert!(!told(&below, &bytes));
    }
}
