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
//! One call copies `current_frame`, the data stack, its newest frames first, and the
//! frames outside it, where they were last time ([`Look`]). To 3.12 each evaluation
//! loop keeps its own current frame, all of which are copied together ([`cells`]), and
//! where loops come and go once more before that.
//! Each piece is nearly a moment in time,
//! but the pieces are 0.4 to 0.8 µs apart, in which a fast program calls and
//! returns several times. (What of the thread state says no more than whose the
//! thread is comes last, and at most rates once in [`TRUSTED`] only: between
//! `current_frame` and the frames it would cost as much as a call.) Looking on until it stands still would show what
//! stands still: of a program that spends 38 % of its time scanning text and
//! 58 % in a parser of very short calls, that gave 60 and 36 %. So a sample is
//! of the moment at which `current_frame` was read, and of no other where that
//! can be helped ([`settle`]):
//!
//! - *How deep the thread was*, `current_frame` says, being what the interpreter
//!   itself goes by, and it is copied first and alone. Its address is an unbiased
//!   sample of the depth: nothing has been touched before it. (Lines of memory
//!   that the copying has just taken from the target's processor hold up its
//!   next store to them, and thereby everything it stores afterwards, so what is
//!   copied later shows moments before such stores too often.)
//! - *What it ran there*, the frame at that address says, whether it executes in
//!   the copy, waits for what it has called since, or has returned: it keeps its
//!   code and its caller. (From 3.14 on the code is cleared, but is found by the
//!   place.) It does not keep the place where it stood but that of its return, so
//!   it is shown where one of the same function stood that was entered meanwhile
//!   ([`entered`]).
//! - *From where it was called*: a caller that has gone on since is put back to
//!   the place that it must have called from, which its bytecode shows
//!   ([`program`](super::program)): the last call of that function before where
//!   it stands now with no jump between, or the only one. What lies above such a
//!   caller may be left from one that lay there before it and called something
//!   of the same name, so a name is enough only where one function has it.
//! - *Who has resumed a generator*, which names its caller only until it gives a value,
//!   was seen when it was met running ([`resumers`]).
//! - *Who has called from C* what runs in a loop that has ended, to which nothing
//!   leads any more, lies directly below it ([`lost`]).
//! - *Where something else has taken that memory meanwhile*, that stack is gone, and the look
//!   waits for the next one that ends in the same frame ([`Deferred`](deferred::Deferred)); to
//!   3.12 only of a thread all of whose frames one loop runs.
//!   To show what has come instead, of a program whose 30 frames are others after
//!   microseconds, gave the function that calls them 20 to 25 % of the time, for 10.
//!   What stands there for longer has more of what waits; but how deep the thread was is as
//!   it was seen.
//! - *Where no stack has been seen to end there yet*, and where there are more loops to 3.12,
//!   the newest frame in the copied data stack is shown ([`newest`]), some 0.5 µs later. That befalls only threads that return,
//!   so for each such frame another thread that enters a frame there meanwhile is shown late
//!   as well ([`Debts`](debts::Debts)).
//!
//! However a stack was put together, it has to end at the bottom of the data stack
//! (`is_bottom` in [`walk`]).
//!
//! A copy is nearly but not quite atomic. A stack is believed when each of its
//! calls is plain to see in the bytecode, or was once seen standing still, or
//! its caller named the callee and stood where it stood before and after
//! ([`Calls`]), or the instruction there has noted this callee (from 3.12 on:
//! [`Noted`](super::program::Noted)); a call of something that is not named in the bytecode at all (a
//! class, a function out of a table) when both frames were alive in one copy of
//! the data stack. Where C code lies between them, the bytecode says nothing; but from 3.12 on
//! each loop has a frame on the C stack, and how far that is from the caller's own tells one
//! call through C from the next ([`Depth`](super::edges::Depth)). Calls that are not known yet are learnt by further looks, but
//! what is shown then is the first one, if need be when some later stack has shown that they
//! are made ([`Unproved`]). Where we were held up while we copied,
//! on a processor that others want too, in milliseconds a program is everywhere
//! and back: [`Pace`](pace::Pace) tells such looks.

mod belief;
mod cells;
mod debts;
mod deferred;
mod entered;
mod entry;
mod frame;
mod known;
mod look;
mod loops;
mod lost;
mod newest;
mod pace;
mod path;
mod place;
mod proof;
mod resumers;
mod settle;
mod trail;
mod walk;

use std::time::Instant;

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use super::c_frames::CFrames;
use super::edges::Calls;
use super::program::Program;
use super::{
    CodeCounter, Copied, Leaf, MAX_FRAMES, Motion, RawFrame, RawStack, StackError, Unproved,
};
use crate::layout::{Field, Layout, MissingField};
use cells::CELL;
use debts::Debts;
use deferred::Deferred;
use entry::{COUNTER_BYTES, Entry, EntryLayout};
use frame::{FrameLayout, Instructions, Shapes};
use known::{Known, is_fresh};
pub(super) use look::Look;
use loops::Loops;
use pace::Speed;
pub(super) use path::Chain;
use place::Placed;
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
    program: Program,
    threads: HashMap<RemoteAddr, Box<Known>>,
    look: Look,
    proof: Look,
    /// Looks that may still be taken to prove calls for this sample.
    proofs_left: usize,
    /// What the last reading has found, if some calls of it are not known.
    unproved: Option<Unproved>,
    /// The first stack of this sample one of whose callers has gone on from nobody knows where.
    unplaced: Option<Unproved>,
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
    /// Where frames begin.
    data: usize,
    /// The bytes that hold the first two.
    span: usize,
}

/// What one look showed before any frame was decoded.
#[derive(Clone, Copy, Debug)]
struct Seen {
    thread: RemoteAddr,
    /// The current frame; null when the thread runs no Python.
    current: RemoteAddr,
    /// It was read after everything else, not before.
    late: bool,
    /// It was read before everything else, and at once.
    prompt: bool,
    /// Where that was read, if not in the thread state.
    through: Option<RemoteAddr>,
    /// The newest chunk, and where its newest frame ended.
    chunk: RemoteAddr,
    top: RemoteAddr,
    codes: Option<CodeCounter>,
    holds_gil: Option<bool>,
    /// When it began.
    at: Instant,
    speed: Speed,
}

impl Seen {
    /// The newest frame, whose code that is. Where loops come and go, to 3.12, nobody knows:
    /// the current one was asked for a moment later.
    fn leaf(&self, code: RemoteAddr) -> Option<Leaf> {
        self.prompt.then_some(Leaf {
            addr: self.current,
            end: self.top,
            code,
        })
    }

    /// Whether a loop runs, to 3.12: where none does, the current frame is kept in the
    /// thread state itself.
    fn is_in_loop(&self) -> bool {
        self.through.is_some_and(|through| {
            let inside = through.checked_sub(self.thread);
            inside.is_none_or(|inside| inside >= MAX_THREAD_STATE)
        })
    }

    fn stack(&self, frames: Vec<RawFrame>, loops: &Loops) -> RawStack {
        RawStack {
            frames,
            loops: loops.found(),
            codes: self.codes,
            holds_gil: self.holds_gil,
            leaf: None,
        }
    }
}

/// Moments of a thread that are looked at until one shows its stack.
const MOMENTS: usize = 8;
/// More than the bytes of a `PyThreadState`.
const MAX_THREAD_STATE: u64 = 1 << 12;
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
                data: layout.need(Field::ChunkData)?,
                span: previous.max(size) + 8,
            },
            frame: FrameLayout::new(layout)?,
            shapes: Shapes::new(layout)?,
            returns: Instructions::returns(layout),
            call_sites: Instructions::calls(layout),
            calls: Calls::default(),
            program: Program::new(layout)?,
            threads: HashMap::new(),
            look: Look::default(),
            proof: Look::default(),
            proofs_left: 0,
            unproved: None,
            unplaced: None,
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
            Motion::Resting => {
                known.owner_at = None;
                self.read_running(memory, thread, &mut known)
            }
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
        let chain = match self.follow(memory, known, seen, seen.current) {
            Ok(chain) if !chain.frames.is_empty() || !seen.is_in_loop() => chain,
            found => {
                let nothing = found.err().unwrap_or(StackError::Garbage(seen.current));
                let before = self.current_before(memory, seen).ok_or(nothing)?;
                self.follow(memory, known, seen, before)?
            }
        };
        known.age();
        Ok(seen.stack(chain.frames, &self.loops))
    }

    /// The current frame of the loop before the newest one, to 3.12. A loop that has just
    /// begun is in the thread state before it has a frame of its own
    /// (`_PyEval_EvalFrameDefault`, `Python/ceval.c`): what is there until then lay on the C
    /// stack before. (For a nanosecond of it not even the loop before is there.)
    fn current_before(&self, memory: &dyn Memory, seen: Seen) -> Option<RemoteAddr> {
        let through = seen.through.filter(|_| seen.is_in_loop())?;
        let before = self.entry.before(memory, through)?;
        memory.read_ptr(before).ok()
    }

    fn read_running(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
    ) -> Result<RawStack, StackError> {
        self.calls.begin();
        self.proofs_left = proof::BUDGET;
        self.unplaced = None;
        let mut failure = StackError::Torn;
        for _ in 0..MOMENTS {
            let seen = self.look(memory, thread, known)?;
            if seen.speed == Speed::HeldUp {
                continue;
            }
            let seen = self.in_loop(memory, known, seen);
            match self.stack_of(memory, thread, known, seen) {
                Ok(stack) => {
                    known.believed.clone_from(&stack.frames);
                    known.meet_resumers(&stack.frames);
                    return Ok(stack);
                }
                // Both stand for this moment, of which there will be a stack.
                Err(error @ (StackError::Deferred(_) | StackError::Unproved)) => {
                    return Err(error);
                }
                Err(error) => failure = error,
            }
        }
        if self.unplaced.is_some() {
            self.unproved = self.unplaced.take();
            return Err(StackError::Unproved);
        }
        Err(failure)
    }

    /// What the thread before had there waits no more, nor does anything wait for it.
    pub(super) fn renew(&mut self, thread: RemoteAddr) {
        if let Some(known) = self.threads.get_mut(&thread) {
            known.deferred = Deferred::default();
            known.debts = Debts::default();
        }
    }

    pub(super) fn take_unproved(&mut self) -> Option<Unproved> {
        self.unproved.take()
    }

    /// Whether the calls of a stack that was copied before are known by now.
    pub(super) fn place_later(&mut self, memory: &dyn Memory, unproved: &mut Unproved) -> bool {
        if !unproved.is_news(self.calls.lessons()) {
            return false;
        }
        let Copied::DataStack(chain) = &unproved.copied else {
            return false;
        };
        let Some(known) = self.threads.remove(&unproved.thread) else {
            return false;
        };
        let frames = &mut unproved.stack.frames;
        let placed = self.place_all(memory, &known, chain, frames);
        self.threads.insert(unproved.thread, known);
        placed == Placed::All
    }

    /// What a look showed, with the frame that a loop ran before it ended. In 3.12 the
    /// last one of each loop is the frame that leads to its caller, so that whoever has
    /// asked which loop is the newest, and then where it is, finds that one if it has
    /// ended in between. Shown like that, what brief loops run would be their callers'.
    fn in_loop(&mut self, memory: &dyn Memory, known: &mut Known, seen: Seen) -> Seen {
        let Some(through) = seen.through.filter(|_| !seen.current.is_null()) else {
            return seen;
        };
        let before = self.look.again(through, CELL);
        let before = before.and_then(|bytes| Bytes(bytes).ptr(0));
        let Some(before) = before.filter(|before| *before != seen.current) else {
            return seen;
        };
        let leads_out = self.decode(memory, known, seen, seen.current);
        if !leads_out.is_ok_and(|decoded| decoded.internal) || !known.is_in_chunk(before) {
            return seen;
        }
        match self.decode(memory, known, seen, before) {
            Ok(decoded) if !decoded.internal => Seen {
                current: before,
                ..seen
            },
            _ => seen,
        }
    }

    /// Whether what a look showed as the current frame may be one. To 3.12 each
    /// loop keeps it on the C stack (`_PyCFrame`, `Python/ceval.c`), where there
    /// is something else a moment after the loop has ended.
    fn is_aim(&mut self, memory: &dyn Memory, known: &mut Known, seen: Seen) -> bool {
        if seen.through.is_none() {
            return true;
        }
        if seen.current.is_null() {
            return !seen.is_in_loop();
        }
        let decoded = self.decode(memory, known, seen, seen.current);
        decoded.is_ok_and(|decoded| {
            decoded.internal || self.shapes.get(memory, decoded.frame.code).is_some()
        })
    }

    /// Copies the thread state and what its stack was in last time.
    fn look(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        known: &mut Known,
    ) -> Result<Seen, StackError> {
        let newest = self.entry.newest.at(thread);
        let stack = self.entry.stack.at(thread);
        let (owner_at, owner_span) = self.entry.owner.at(thread);
        // Once read it stays what it was: the first answer is the unbiased one.
        let mut current = None;
        let mut late = false;
        let mut prompt = false;
        let mut turn = 0;
        let now = Instant::now();
        let fresh = |at: Instant| is_fresh(at, now);
        loop {
            turn += 1;
            self.plan.clear();
            // The current frame first, and the newest frames right behind it.
            let cells = known.cells.plan();
            let twice = cells.filter(|_| known.cells.are_several());
            self.plan.extend(cells);
            self.plan.push(newest);
            self.plan.extend(twice);
            self.plan.push(stack);
            let before = twice.iter().len();
            if let Some(skip) = known.newest_at() {
                self.look.begin(self.plan.len(), skip);
            }
            self.plan.extend(known.chunks());
            let frame = self.frame.span;
            self.plan
                .extend(known.outside(now).map(|addr| (addr, frame)));
            // Beside these the thread counts its calls (`py_recursion_remaining`): it
            // waits with the next one until it has that memory back once it has been
            // copied, so what is copied after it is the moment before a call too often.
            let is_owner_fresh = known.owner_at.is_some_and(fresh);
            if !is_owner_fresh {
                self.plan.push((owner_at, owner_span));
            }
            let known_codes = known.codes.filter(|(_, at)| fresh(*at));
            let counter = match known_codes {
                Some(_) => None,
                None => self.entry.counter_at(known.owner.interpreter),
            };
            // Last, so that what it vouches for was copied before.
            self.plan.extend(counter.map(|at| (at, COUNTER_BYTES)));
            let filled = self.look.take_twice(memory, &self.plan, 0..before);
            if filled < self.plan.len() {
                known.forget();
            }
            for (start, span) in [newest, stack] {
                if self.look.slice(start, span).is_none() {
                    // What was planned before it has gone; or says why.
                    self.look.add(memory, start, span)?;
                }
            }
            let bytes = |(start, span)| self.look.slice(start, span);
            let entry = bytes(newest).zip(bytes(stack));
            let entry = entry.and_then(|(newest, stack)| self.entry.decode(newest, stack));
            let entry = entry.ok_or(StackError::Garbage(thread))?;
            let again = turn < PLANS;
            if current.is_none() {
                let through = self.entry.through(&entry);
                late = through.is_some_and(|at| self.look.slice(at, CELL).is_none());
                prompt = through.is_none() || (!late && twice.is_none());
                current = self.current(memory, known, &entry);
            }
            let owner_before = known.owner;
            if !is_owner_fresh {
                if self.look.slice(owner_at, owner_span).is_none() {
                    self.look.add(memory, owner_at, owner_span)?;
                }
                let bytes = self.look.slice(owner_at, owner_span);
                let owner = bytes.and_then(|bytes| self.entry.decode_owner(bytes));
                known.owner = owner.ok_or(StackError::Garbage(thread))?;
                known.owner_at = Some(now);
            }
            let owner = known.owner;
            let moved = owner.interpreter != owner_before.interpreter;
            let replan = match current {
                Some(current) if current.is_null() => false,
                Some(_) if filled < self.plan.len() => {
                    known.covers(entry.chunk, entry.top);
                    true
                }
                Some(_) => {
                    !known.covers(entry.chunk, entry.top) && !self.extend(memory, known, entry)
                }
                None => true,
            };
            let counted_elsewhere = moved && self.entry.counter_at(owner.interpreter).is_some();
            if counted_elsewhere {
                known.codes = None;
            }
            if again && (replan || counted_elsewhere) {
                continue;
            }
            let count = counter.filter(|_| !moved).and_then(|at| {
                let count = self.entry.counter(self.look.slice(at, COUNTER_BYTES)?)?;
                let interpreter = owner.interpreter;
                Some((CodeCounter { interpreter, count }, now))
            });
            known.aim = current.unwrap_or_default();
            known.codes = count.or(known_codes.filter(|_| !moved));
            return Ok(Seen {
                thread,
                current: current.ok_or(StackError::Torn)?,
                late,
                prompt,
                through: self.entry.through(&entry),
                chunk: entry.chunk,
                top: entry.top,
                codes: known.codes.map(|(codes, _)| codes),
                holds_gil: owner.holds_gil,
                at: now,
                speed: known.pace.take(now.elapsed()),
            });
        }
    }

    /// Copies the newest chunk, of which too little was planned.
    fn extend(&mut self, memory: &dyn Memory, known: &Known, entry: Entry) -> bool {
        let newest = known.chunks().first();
        let newest = newest.filter(|(start, _)| *start == entry.chunk);
        newest.is_some_and(|(start, len)| self.look.add(memory, *start, *len).is_ok())
    }

    /// The current frame. In 3.11 and 3.12 each loop keeps it in a place of its
    /// own: where that is not the one that was copied, it is read now.
    fn current(&self, memory: &dyn Memory, known: &mut Known, entry: &Entry) -> Option<RemoteAddr> {
        let Some(at) = self.entry.through(entry) else {
            return Some(entry.frame);
        };
        known.cells.meet(at);
        match self.look.slice(at, CELL) {
            Some(bytes) => Bytes(bytes).ptr(0),
            None => memory.read_ptr(at).ok(),
        }
    }
}
