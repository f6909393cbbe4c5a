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

use std::time::Instant;

use firefinch_memory::{Memory, RemoteAddr};
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::DataStack;
use super::known::{Known, is_fresh};
use crate::frames::{Position, RawFrame};

/// Where the last frames of each function stood that were seen just after they were
/// entered, the latest one first.
#[derive(Debug, Default)]
pub(super) struct Entered {
    places: HashMap<RemoteAddr, SmallVec<[Position; PLACES]>>,
    /// Whether the one instruction is on every way to the other, as far as that was asked.
    passed: HashMap<(RemoteAddr, RemoteAddr), bool>,
    /// When the first of these was. An address does not tell one function's bytecode
    /// from that of the next one there, so they are forgotten after a moment.
    asked: Option<Instant>,
}

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
            let entered = &mut known.entered.places;
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
        known: &mut Known,
        now: Instant,
        newest: Option<&mut RawFrame>,
    ) {
        let Some(newest) = newest else {
            return;
        };
        let Entered {
            places,
            passed,
            asked,
        } = &mut known.entered;
        let places = places.get(&newest.code);
        let Some(places) = places.filter(|_| self.returns.is_at(memory, newest)) else {
            return;
        };
        if passed.len() >= MAX_CODES || !asked.is_some_and(|at| is_fresh(at, now)) {
            passed.clear();
            *asked = Some(now);
        }
        let place = places
            .iter()
            .find(|place| match (**place, newest.position) {
                (Position::Instruction(at, 0), Position::Instruction(now, 0)) => {
                    // Asking for bytecode takes as long as a look.
                    *passed
                        .entry((at, now))
                        .or_insert_with(|| self.program.passes(memory, newest.code, at, now))
                }
                _ => false,
            });
        newest.position = place.copied().unwrap_or(newest.position);
    }
}
