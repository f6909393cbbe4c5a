//! Frames in a thread's data stack (`_PyInterpreterFrame`,
//! `Include/internal/pycore_frame.h`, from 3.11 on).
//!
//! The data stack is a list of chunks (`_PyStackChunk`); within one, frames
//! lie one after another, each naming its caller in `previous`. Two kinds lie
//! elsewhere: those of generators and coroutines, inside their objects, and
//! the interpreter's own entry frames, on the C stack, which run no Python code
//! and are passed over.
//!
//! # Why a stack read from a moving thread is true
//! One call copies the thread state, the data stack and the frames outside it,
//! where they were last time ([`Look`]). Each piece is nearly a moment in time,
//! but the pieces are some hundred nanoseconds apart, in which a fast program
//! calls and returns. So two questions are answered apart:
//!
//! - *How deep is the thread?* `current_frame` says so, being what the
//!   interpreter itself goes by, and it is copied first. Its address alone is an
//!   unbiased sample of the depth: nothing has been touched before it. (Lines
//!   of memory that the copying has just taken from the target's processor hold
//!   up its next store to them, and thereby everything it stores afterwards, so
//!   what is copied later shows moments before such stores too often. Measured
//!   on 3.14: deciding by what is in the copied chunk puts the innermost level
//!   15 points below the truth; `current_frame` copied first is within one.)
//! - *Which stack is there, given that depth?* A copy of the chunk in which the
//!   frame at that address is the newest, by its marks of life ([`newest`]). If
//!   this look's copy is not one, the next look is taken: a later moment at
//!   which the thread was at the same depth. The depth is never given up for
//!   another that is easier to read, so nothing is refused because it moves,
//!   which would leave only what stands still.
//!
//! A copy is nearly but not quite atomic. [`Calls`] holds back a stack with a
//! call that was never seen standing still, nor named by a caller that stood
//! where it stood before and after. Where we were held up while we copied, on a
//! processor that others want too, all that is no help: in milliseconds a
//! program is everywhere and back. [`Pace`](pace::Pace) tells such looks.

mod belief;
mod entry;
mod frame;
mod known;
mod look;
mod loops;
mod newest;
mod pace;
mod proof;
mod walk;

use std::time::Instant;

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use super::c_frames::CFrames;
use super::edges::Calls;
use super::{CodeCounter, Motion, RawFrame, RawStack, StackError, TRUSTED};
use crate::layout::{Field, Layout, MissingField};
use entry::{COUNTER_BYTES, Entry, EntryLayout};
use frame::{FrameLayout, Instructions, Shapes};
use known::Known;
pub(super) use look::Look;
use loops::Loops;
use newest::Fit;
pub(super) use proof::Order;

/// Reads stacks that lie in data-stack chunks.
#[derive(Debug)]
pub(super) struct DataStack {
    entry: EntryLayout,
    chunk: ChunkLayout,
    frame: FrameLayout,
    shapes: Shapes,
    returns: Instructions,
    call_sites: Instructions,
    calls: Calls,
    threads: HashMap<RemoteAddr, Known>,
    look: Look,
    proof: Look,
    /// Looks that may still be taken to prove calls for this sample.
    proofs_left: usize,
    plan: Vec<(RemoteAddr, usize)>,
    /// Of the stack that was followed last.
    loops: Loops,
    c_frames: Option<CFrames>,
}

/// `_PyStackChunk` (`Include/cpython/pystate.h`).
#[derive(Clone, Copy, Debug)]
struct ChunkLayout {
    previous: usize,
    size: usize,
    /// The bytes that hold both.
    span: usize,
}

/// What one look showed before any frame was decoded.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The current frame; null when the thread runs no Python.
    current: RemoteAddr,
    /// Where that was read, if not in the thread state.
    through: Option<RemoteAddr>,
    /// The newest chunk.
    chunk: RemoteAddr,
    codes: Option<CodeCounter>,
    holds_gil: Option<bool>,
    /// When it began.
    at: Instant,
    /// We were not held up while it was taken.
    prompt: bool,
}

impl Seen {
    fn stack(&self, frames: Vec<RawFrame>, loops: &Loops) -> RawStack {
        RawStack {
            frames,
            loops: loops.found(),
            codes: self.codes,
            holds_gil: self.holds_gil,
        }
    }
}

/// Looks taken to find the thread at the same depth again, and to learn the
/// calls of its stack. A thread is at a depth where it spends a tenth of its
/// time in four of five tries.
const LOOKS: usize = 16;
/// Looks taken where it does not come back to that depth.
const LOOKS_ANYWHERE: usize = 4;
/// Looks taken to find out which frame is the current one, where it is not kept
/// in the thread state.
const AIMS: usize = 4;
/// More than the bytes of a `PyThreadState`.
const MAX_THREAD_STATE: u64 = 1 << 12;
/// Looks after the first for which a thread that seems neither to execute nor
/// to wait must show the same to be believed: it takes long to release something.
const STILL: usize = 2;
/// Looks in a row at which nothing has changed, after which nothing has moved:
/// what goes round is met elsewhere by one of them.
const STANDING: usize = 6;
/// Times that a look is planned anew because the stack was not where it was.
const PLANS: usize = 4;
/// Threads remembered before starting anew.
const MAX_THREADS: usize = 1 << 16;

impl DataStack {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let previous = layout.need(Field::ChunkPrevious)?;
        let size = layout.need(Field::ChunkSize)?;
        Ok(Self {
            entry: EntryLayout::new(layout)?,
            chunk: ChunkLayout {
                previous,
                size,
                span: previous.max(size) + 8,
            },
            frame: FrameLayout::new(layout)?,
            shapes: Shapes::new(layout)?,
            returns: Instructions::returns(layout),
            call_sites: Instructions::calls(layout),
            calls: Calls::default(),
            threads: HashMap::new(),
            look: Look::default(),
            proof: Look::default(),
            proofs_left: 0,
            plan: Vec::new(),
            loops: Loops::new(layout),
            c_frames: CFrames::new(layout),
        })
    }

    pub(super) fn tells_gil(&self) -> bool {
        self.entry.tells_gil()
    }

    pub(super) fn tell_loops(&mut self) {
        self.loops.want();
        // So that the oldest of them is copied as well.
        if let Some(c_frames) = &self.c_frames {
            self.entry.widen(c_frames.thread_size);
        }
    }

    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        motion: Motion,
    ) -> Result<RawStack, StackError> {
        if self.threads.len() >= MAX_THREADS && !self.threads.contains_key(&thread) {
            self.threads.clear();
        }
        let mut known = self.threads.remove(&thread).unwrap_or_default();
        let stack = match motion {
            Motion::Stopped => self.read_stopped(memory, thread, &mut known),
            Motion::Running => self.read_running(memory, thread, &mut known),
        };
        self.threads.insert(thread, known);
        let mut stack = stack?;
        // Of a thread that stands still.
        let seen = (motion == Motion::Stopped).then_some(&self.look);
        if self.loops.wanted()
            && let Some(c_frames) = &mut self.c_frames
            && let Some(chain) = c_frames.read(memory, thread, seen)
            && let Some(loops) = loops::of_chain(&stack.frames, chain)
        {
            stack.loops = loops;
        }
        Ok(stack)
    }

    fn read_stopped(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
    ) -> Result<RawStack, StackError> {
        let seen = self.look(memory, thread, known)?;
        let frames = self.follow(memory, known, seen, seen.current)?;
        known.age();
        Ok(seen.stack(frames, &self.loops))
    }

    fn read_running(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
    ) -> Result<RawStack, StackError> {
        let mut first = self.look(memory, thread, known)?;
        for _ in 1..AIMS {
            if self.is_aim(memory, thread, known, first) {
                break;
            }
            first = self.look(memory, thread, known)?;
        }
        let aim = first.current;
        if aim.is_null() {
            return Ok(first.stack(Vec::new(), &Loops::default()));
        }
        self.calls.begin();
        self.proofs_left = proof::BUDGET;
        let mut failure = StackError::Torn;
        // The first stack at that depth, held for a call that is not known yet.
        let mut candidate: Option<RawStack> = None;
        // A stack that seems to go on above that depth.
        let mut below: Option<RawStack> = None;
        // One whose newest frame was current before the copy, whatever its marks.
        let mut held: Option<RawStack> = None;
        // What the look before showed, to learn calls from.
        let mut last: Option<Vec<RawFrame>> = None;
        // What a thread stood still in that is of no mark, and for how many looks.
        let mut still: (Vec<RawFrame>, usize) = Default::default();
        // For how many looks nothing at all has changed.
        let mut standing = 0;
        for turn in 0..LOOKS {
            let seen = match turn {
                0 => first,
                _ => self.look(memory, thread, known)?,
            };
            if let Some(stack) = held.take().filter(|_| seen.current == aim) {
                // And still is after the copy, so it was all the while: it may
                // be releasing its locals, which takes as long as it takes.
                return Ok(accept(known, stack));
            }
            if !seen.prompt {
                last = None;
                continue;
            }
            let (fit, frames) = match self.fitting(memory, known, seen, aim) {
                Ok(found) => found,
                Err(error) => {
                    failure = error;
                    last = None;
                    // It is elsewhere now; its callers may still stand there.
                    let held = candidate.take_if(|candidate| {
                        let now = self.follow(memory, known, seen, seen.current);
                        let crosses = |a: &RawFrame, b: &RawFrame| Self::crosses(known, a, b);
                        now.is_ok_and(|now| self.calls.may_be_new(&candidate.frames, &now, crosses))
                    });
                    if let Some(stack) = held {
                        return Ok(accept(known, stack));
                    }
                    continue;
                }
            };
            if let Some(last) = last.filter(|_| fit != Fit::Unmarked) {
                standing = match last == frames {
                    true => standing + 1,
                    false => 0,
                };
                let needs_proof =
                    |a: &RawFrame, b: &RawFrame| standing < STANDING && Self::crosses(known, a, b);
                self.calls.learn(&last, &frames, needs_proof);
            }
            let stack = seen.stack(frames.clone(), &self.loops);
            if self.believes(memory, known, seen, fit, &frames) {
                match fit {
                    Fit::Newest => return Ok(accept(known, stack)),
                    Fit::Below => below = Some(stack.clone()),
                    Fit::Unmarked => {}
                }
                held = Some(stack).filter(|_| seen.current == aim);
            } else if fit == Fit::Unmarked {
                if seen.current != aim || still.0 != frames {
                    still = (frames, 0);
                } else if still.1 < STILL {
                    still.1 += 1;
                } else {
                    let crosses = |a: &RawFrame, b: &RawFrame| Self::crosses(known, a, b);
                    self.calls.learn(&frames, &frames, crosses);
                    return Ok(accept(known, stack));
                }
                last = None;
                continue;
            } else {
                let now_known = candidate.take_if(|candidate| {
                    self.calls.know(&candidate.frames, 0)
                        || self.calls.may_be_new(&candidate.frames, &frames, |a, b| {
                            Self::crosses(known, a, b)
                        })
                });
                if let Some(stack) = now_known {
                    return Ok(accept(known, stack));
                }
                candidate.get_or_insert(stack);
            }
            last = Some(frames).filter(|_| fit != Fit::Unmarked);
            still.1 = 0;
        }
        match below.or_else(|| self.anywhere(memory, thread, known)) {
            Some(stack) => Ok(accept(known, stack)),
            None => Err(failure),
        }
    }

    /// Whether what a look showed as the current frame may be one. To 3.12 each
    /// loop keeps it on the C stack (`_PyCFrame`, `Python/ceval.c`), where there
    /// is something else a moment after the loop has ended.
    fn is_aim(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
        seen: Seen,
    ) -> bool {
        let Some(through) = seen.through else {
            return true;
        };
        if seen.current.is_null() {
            // The thread's own, for when no loop runs, lies in its state.
            let offset = through.checked_sub(thread);
            return offset.is_some_and(|offset| offset < MAX_THREAD_STATE);
        }
        let decoded = self.decode(memory, known, seen, seen.current);
        decoded.is_ok_and(|decoded| {
            decoded.internal || self.shapes.get(memory, decoded.frame.code).is_some()
        })
    }

    /// The stack at any depth, for a thread that does not come back to the one
    /// it was at.
    fn anywhere(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
    ) -> Option<RawStack> {
        for _ in 0..LOOKS_ANYWHERE {
            let seen = self.look(memory, thread, known).ok()?;
            if !seen.prompt {
                continue;
            }
            let found = self.fitting(memory, known, seen, seen.current);
            if let Ok((Fit::Newest, frames)) = found
                && self.believes(memory, known, seen, Fit::Newest, &frames)
            {
                return Some(seen.stack(frames, &self.loops));
            }
        }
        None
    }

    /// The stack whose newest frame is `aim`, as the last look copied it.
    fn fitting(
        &mut self,
        memory: &dyn Memory,
        known: &mut Known,
        seen: Seen,
        aim: RemoteAddr,
    ) -> Result<(Fit, Vec<RawFrame>), StackError> {
        let newest = self.decode(memory, known, seen, aim)?;
        let fit = self.fit(memory, known, &newest);
        let frames = self.follow(memory, known, seen, aim)?;
        known.age();
        Ok((fit, frames))
    }

    /// Copies the thread state and what its stack was in last time.
    fn look(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
    ) -> Result<Seen, StackError> {
        let start = thread.offset(self.entry.first as u64);
        // Once read it stays what it was: the first answer is the unbiased one.
        let mut current = None;
        let mut turn = 0;
        let now = Instant::now();
        let fresh = |at: Instant| now.saturating_duration_since(at) < TRUSTED;
        loop {
            turn += 1;
            self.plan.clear();
            self.plan.push((start, self.entry.span));
            if !known.through.is_null() {
                self.plan.push((known.through, 8));
            }
            self.plan.extend(known.chunks());
            let span = self.frame.span;
            self.plan
                .extend(known.outside(now).map(|addr| (addr, span)));
            let known_codes = known.codes.filter(|(_, at)| fresh(*at));
            let counter = match known_codes {
                Some(_) => None,
                None => self.entry.counter_at(known.interpreter),
            };
            // Last, so that what it vouches for was copied before.
            self.plan.extend(counter.map(|at| (at, COUNTER_BYTES)));
            let filled = self.look.take(memory, &self.plan);
            if filled < self.plan.len() {
                if filled == 0 {
                    // Says why.
                    self.look.add(memory, start, self.entry.span)?;
                }
                known.forget();
            }
            let bytes = self.look.slice(start, self.entry.span);
            let entry = bytes.and_then(|bytes| self.entry.decode(bytes));
            let entry = entry.ok_or(StackError::Garbage(thread))?;
            let again = turn < PLANS;
            if current.is_none() {
                current = self.current(memory, known, &entry);
            }
            let moved = entry.interpreter != known.interpreter;
            known.interpreter = entry.interpreter;
            let replan = match current {
                Some(current) if current.is_null() => false,
                Some(_) => !known.covers(entry.chunk, entry.top) || filled < self.plan.len(),
                None => true,
            };
            let counted_elsewhere = moved && self.entry.counter_at(entry.interpreter).is_some();
            if counted_elsewhere {
                known.codes = None;
            }
            if again && (replan || counted_elsewhere) {
                continue;
            }
            let count = counter.filter(|_| !moved).and_then(|at| {
                let count = self.entry.counter(self.look.slice(at, COUNTER_BYTES)?)?;
                let interpreter = entry.interpreter;
                Some((CodeCounter { interpreter, count }, now))
            });
            known.codes = count.or(known_codes.filter(|_| !moved));
            return Ok(Seen {
                current: current.ok_or(StackError::Torn)?,
                through: self.entry.through(&entry),
                chunk: entry.chunk,
                codes: known.codes.map(|(codes, _)| codes),
                holds_gil: entry.holds_gil,
                at: now,
                prompt: known.pace.take(now.elapsed()),
            });
        }
    }

    /// The current frame. In 3.11 and 3.12 each loop keeps it in a place of its
    /// own: where that is not the one that was copied, it is read now.
    fn current(&self, memory: &dyn Memory, known: &mut Known, entry: &Entry) -> Option<RemoteAddr> {
        let Some(at) = self.entry.through(entry) else {
            return Some(entry.frame);
        };
        known.through = at;
        match self.look.slice(at, 8) {
            Some(bytes) => Bytes(bytes).ptr(0),
            None => memory.read_ptr(at).ok(),
        }
    }
}

fn accept(known: &mut Known, stack: RawStack) -> RawStack {
    known.believed.clone_from(&stack.frames);
    stack
}
