//! Where frames stand that have just been entered, or just been left.
//!
//! A frame that returns while it is copied is shown, as it was current a moment
//! before; but it stands at its return by then, wherever it stood at that moment.
//! Shown like that, the last line of a short function would have a quarter of its
//! time. Others of the same function are entered meanwhile and not shown, as they
//! were not current yet: as many, and for as long. So the places of those take
//! the place of these: the ones are seen in the first half microsecond of their
//! lives where the others would be missing in it. Only of a place that it must have
//! passed on its way to its return, so that no line is shown at which it never was.

use firefinch_memory::{Memory, RemoteAddr};
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::DataStack;
use super::known::Known;
use crate::frames::{Position, RawFrame};

/// Where the last frames of each function stood that were seen just after they were
/// entered, the latest one first.
#[derive(Debug, Default)]
pub(super) struct Entered(HashMap<RemoteAddr, SmallVec<[Position; PLACES]>>);

/// Places remembered of each.
const PLACES: usize = 4;
/// Functions remembered before starting anew.
const MAX_CODES: usize = 1 << 14;
/// Frames that are entered within a microsecond.
const MAX_ABOVE: usize = 8;

impl DataStack {
    /// Takes in what lies above the current frame, which was entered while it
    /// was copied.
    pub(super) fn meet_entered(&mut self, memory: &dyn Memory, known: &mut Known, at: RemoteAddr) {
        let bytes = self.look.slice(at, self.frame.span);
        let Some(mut below) = bytes.and_then(|bytes| self.frame.decode(at, bytes)) else {
            return;
        };
        for _ in 0..MAX_ABOVE {
            let Some(above) = self.above(memory, &below) else {
                return;
            };
            let shape = self.shapes.get(memory, above.frame.code);
            let is_whole = shape.is_some_and(|shape| shape.has(above.frame.position));
            let lives = match self.frame.marks_executing() {
                true => above.executing || above.calling,
                false => !self.returns.is_at(memory, &above.frame),
            };
            if above.previous != below.frame.addr || !is_whole || !lives {
                return;
            }
            let entered = &mut known.entered.0;
            if entered.len() >= MAX_CODES {
                entered.clear();
            }
            let places = entered.entry(above.frame.code).or_default();
            places.truncate(PLACES - 1);
            places.insert(0, above.frame.position);
            if above.executing {
                return;
            }
            below = above;
        }
    }

    /// Makes a newest frame that has returned stand where one like it stood
    /// that was entered meanwhile.
    pub(super) fn place_left(
        &mut self,
        memory: &dyn Memory,
        known: &Known,
        newest: Option<&mut RawFrame>,
    ) {
        let Some(newest) = newest else {
            return;
        };
        let places = known.entered.0.get(&newest.code);
        if let Some(places) = places.filter(|_| self.returns.is_at(memory, newest))
            && let Position::Instruction(now, 0) = newest.position
            && let Some(code) = self.program.code(memory, newest.code)
            && let Some(now) = code.offset_of(now)
        {
            let is_passed = |place: &&Position| match place {
                Position::Instruction(at, 0) => {
                    let at = code.offset_of(*at);
                    at.is_some_and(|at| code.passes(at, now))
                }
                _ => false,
            };
            let passed = places.iter().find(is_passed);
            newest.position = passed.copied().unwrap_or(newest.position);
        }
    }
}
