//! One look at a chain of frames: read with as few calls as can be.

use firefinch_memory::{Bytes, Memory, Range, RemoteAddr};
use hashbrown::{HashMap, HashSet};

use crate::frames::{Position, RawFrame, StackError, Steps};
use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;

/// A frame in one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) frame: RawFrame,
    /// Whether it was executing when it was copied, and not returned since it
    /// was found.
    pub(super) lives: bool,
}

/// How to follow a chain.
#[derive(Debug)]
pub(super) struct Chain {
    thread_frame: usize,
    fields: Fields,
    /// Each frame's code and caller when it was last seen executing: where to
    /// look next time, and whom a generator that has yielded was called by.
    callers: HashMap<RemoteAddr, (RemoteAddr, RemoteAddr)>,
    /// Where to look for each thread's frames.
    recent: HashMap<RemoteAddr, Recent>,
    /// The code that each frame was seen with, and how often if it was one only.
    owners: HashMap<RemoteAddr, (RemoteAddr, Option<u32>)>,
    copies: Copies,
    /// What the last look has met, newest frame first, whether it came to an end or not.
    walked: Vec<Seen>,
    /// Whether the first call of the last look has copied all that it has met, and all of
    /// the thread's recent frames.
    is_whole: bool,
    /// Whether the last look has come to the oldest frame.
    reached_end: bool,
    /// The oldest frame of the thread that was looked at, where that is known.
    root: Option<RemoteAddr>,
    proof: Vec<u8>,
}

/// Where a thread's frames were: those of the last look, newest first, and then those of
/// looks before, the last met first.
#[derive(Debug, Default)]
struct Recent {
    frames: Vec<RemoteAddr>,
    /// How many are of the last look.
    last: usize,
    /// The oldest frame of the last chain that came to an end.
    root: Option<RemoteAddr>,
    /// For how many looks more all are copied, and not only those of the last.
    wide: u32,
}

/// In which order the two frames are copied for the second time. What goes
/// round is met in the same place by one of them if it takes just as long as
/// that, and not by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Same,
    Reversed,
}

/// What a look at a caller and its callee alone has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) caller: RawFrame,
    pub(super) callee: RawFrame,
    /// Whether it was the same when both were copied again.
    pub(super) stands: bool,
}

/// Looks with one code object after which a frame is taken to be kept for that.
const KEPT: u32 = 16;

/// Callers remembered before starting anew.
const MAX_CALLERS: usize = 1 << 16;
/// Frames of a thread that are looked at beside those of the last look.
const MAX_RECENT: usize = 96;
/// Ranges that these may take.
const MAX_RANGES: usize = 16;
/// Looks for which they are, after one whose chain could not be told.
const WIDE: u32 = 256;
/// Bytes between two frames that are copied along: a further range takes as long.
const MAX_GAP: u64 = 2048;
/// Frames that cannot be read before no more are tried at this look.
const MAX_GONE: usize = 16;
/// Threads remembered before starting anew.
const MAX_THREADS: usize = 1 << 12;
/// Functions that call each other in turn are rarely more than these.
const MAX_CYCLE: usize = 16;
/// Frames without a callee in one copy: hardly more than one runs, others have gone on.
const MAX_NEWEST: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Fields {
    reference_count: usize,
    back: usize,
    code: usize,
    last_instruction: usize,
    /// Bytes per unit of `f_lasti`.
    unit: i32,
    executing: Executing,
    /// The bytes of a frame that are copied.
    span: usize,
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
    fn new(layout: &Layout) -> Result<Self, MissingField> {
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
    fn decode(&self, addr: RemoteAddr, bytes: &[u8]) -> Option<(Seen, RemoteAddr)> {
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

impl Chain {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        Ok(Self {
            thread_frame: layout.need(Field::TstateFrame)?,
            fields: Fields::new(layout)?,
            callers: HashMap::new(),
            recent: HashMap::new(),
            owners: HashMap::new(),
            copies: Copies::default(),
            walked: Vec::new(),
            is_whole: false,
            reached_end: false,
            root: None,
            proof: Vec::new(),
        })
    }

    /// The chain of `thread`, newest frame first: the newest as the thread
    /// names it, the others as they are found in copies taken by the same
    /// call, or in further ones where that was not enough.
    pub(super) fn look(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
    ) -> Result<Vec<Seen>, StackError> {
        let span = self.fields.span;
        let head = thread.offset(self.thread_frame as u64);
        let expected = self.recent.entry(thread).or_default();
        self.walked.clear();
        self.is_whole = expected.wide > 0;
        self.reached_end = false;
        let wanted = match self.is_whole {
            true => expected.frames.len(),
            false => expected.last,
        };
        expected.wide = expected.wide.saturating_sub(1);
        let wanted = expected.frames.get(..wanted).unwrap_or_default();
        self.copies.begin();
        self.copies
            .fetch(memory, Some(head), wanted, expected.last, span);
        let newest = match self.copies.get(head, 8) {
            Some(bytes) => Bytes(bytes).ptr(0).unwrap_or_default(),
            None => memory.read_ptr(head)?,
        };
        // It is no frame.
        self.copies.starts.remove(&head);
        let walked = self.walk(memory, newest);
        // The free list has an end as well.
        let oldest = self.walked.last().filter(|_| walked.is_ok());
        let root = oldest.filter(|seen| seen.lives);
        self.expect(thread, root.map(|seen| seen.frame.addr));
        self.reached_end = walked.is_ok();
        walked?;
        let chain = self.walked.clone();
        self.remember(&chain);
        Ok(chain)
    }

    /// Follows the callers of `newest` to the oldest frame.
    fn walk(&mut self, memory: &dyn Memory, newest: RemoteAddr) -> Result<(), StackError> {
        let span = self.fields.span;
        let mut addr = newest;
        let mut steps = Steps::default();
        // Behind a frame that is, the free list follows, which says nothing.
        let mut is_given_back = false;
        while !addr.is_null() {
            steps.count(addr)?;
            if self.copies.get(addr, span).is_none() {
                self.is_whole &= !is_given_back;
                let path = self.expected_from(addr);
                self.copies.fetch(memory, None, &path, path.len(), span);
            }
            let Some(bytes) = self.copies.get(addr, span) else {
                // Says why it cannot be read.
                memory.read(addr, &mut vec![0; span])?;
                return Err(StackError::Torn);
            };
            let garbage = StackError::Garbage(addr);
            let (seen, caller) = self.fields.decode(addr, bytes).ok_or(garbage)?;
            is_given_back |= !seen.lives && !self.is_kept(&seen.frame);
            self.walked.push(seen);
            addr = self.caller(memory, &seen, caller);
        }
        Ok(())
    }

    /// Says where to look for the frames of `thread` next time: first what was met this
    /// time, and then what was executing.
    fn expect(&mut self, thread: RemoteAddr, root: Option<RemoteAddr>) {
        if self.recent.len() > MAX_THREADS {
            self.recent.clear();
        }
        let before = self.recent.remove(&thread).unwrap_or_default();
        // Behind one that has been given back lie others that have.
        let given_back = |seen: &Seen| !seen.lives && !self.is_kept(&seen.frame);
        let end = self.walked.iter().position(given_back);
        let end = end.filter(|_| root.is_none()).map(|end| end + 1);
        let met = self.walked.iter().take(end.unwrap_or(usize::MAX));
        let met = met.map(|seen| seen.frame.addr);
        let alive = self.copies.starts.keys().copied();
        let alive = alive.filter(|addr| self.copied(*addr).is_some_and(|(seen, _)| seen.lives));
        let mut known = HashSet::with_capacity(self.walked.len() + MAX_RECENT);
        let mut frames: Vec<_> = met.filter(|addr| known.insert(*addr)).collect();
        let last = frames.len();
        let older = before.frames.iter().copied();
        let others = alive.chain(older.filter(|addr| !self.copies.gone.contains(addr)));
        frames.extend(others.filter(|addr| known.insert(*addr)).take(MAX_RECENT));
        self.root = root.or(before.root);
        let recent = Recent {
            frames,
            last,
            root: self.root,
            wide: before.wide,
        };
        self.recent.insert(thread, recent);
    }

    /// The copy of a frame and its caller.
    fn copied(&self, addr: RemoteAddr) -> Option<(Seen, RemoteAddr)> {
        let bytes = self.copies.get(addr, self.fields.span)?;
        self.fields.decode(addr, bytes)
    }

    /// What the last look has met, newest frame first, whether it came to an end or not.
    pub(super) fn walked(&self) -> &[Seen] {
        &self.walked
    }

    /// Whether all frames that the last look has met, down to the oldest, were executing.
    pub(super) fn stood(&self) -> bool {
        self.reached_end && self.walked.iter().all(|seen| seen.lives)
    }

    /// Has the next looks at `thread` copy all of its recent frames at once.
    pub(super) fn widen(&mut self, thread: RemoteAddr) {
        if let Some(recent) = self.recent.get_mut(&thread) {
            recent.wide = WIDE;
        }
    }

    /// Whether the first call of the last look has copied all that it has met, and all of
    /// the thread's recent frames: then that says what was executing.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The longest chain of frames that were executing when the last look copied them,
    /// newest first, down to one without a caller: whoever the thread ran a moment before.
    pub(super) fn executing(&self) -> Vec<Seen> {
        let mut all = HashMap::with_capacity(self.copies.starts.len());
        for addr in self.copies.starts.keys() {
            if let Some((seen, back)) = self.copied(*addr)
                && seen.lives
            {
                all.insert(*addr, (seen, back));
            }
        }
        let callers: HashSet<_> = all.values().map(|(_, back)| *back).collect();
        let newest = all.keys().filter(|addr| !callers.contains(*addr));
        let chains = newest.take(MAX_NEWEST).filter_map(|newest| {
            let mut chain = Vec::new();
            let mut addr = *newest;
            while !addr.is_null() && chain.len() < all.len() {
                let (seen, back) = all.get(&addr)?;
                chain.push(*seen);
                addr = *back;
            }
            // Frames that are kept for one function serve all threads in turn.
            let is_own = chain.last().map(|seen| seen.frame.addr) == self.root;
            (addr.is_null() && is_own).then_some(chain)
        });
        chains.max_by_key(Vec::len).unwrap_or_default()
    }

    /// The caller of a frame, whose `f_back` says `back`.
    ///
    /// A generator loses its `f_back` when it yields (`gen_send_ex`,
    /// `Objects/genobject.c`), and of a function that calls itself only one
    /// frame is kept with its code object: the others go to the free list,
    /// which is linked by `f_back`. Both had a caller when they were last seen.
    fn caller(&mut self, memory: &dyn Memory, seen: &Seen, back: RemoteAddr) -> RemoteAddr {
        if seen.lives && !back.is_null() {
            return back;
        }
        let known = match self.callers.get(&seen.frame.addr) {
            Some((code, caller)) if *code == seen.frame.code => *caller,
            _ => return back,
        };
        if back.is_null() {
            return known;
        }
        if known == back || !self.is_below(known, seen.frame.code) {
            return back;
        }
        if !self.copies.has(back) {
            let span = self.fields.span;
            self.copies.fetch(memory, None, &[back], 1, span);
        }
        let lives = self.copied(back).is_some_and(|(seen, _)| seen.lives);
        // The free list never leads to a frame that is executing.
        if lives { back } else { known }
    }

    /// Whether a frame of this code is among `from` and its callers.
    fn is_below(&self, from: RemoteAddr, code: RemoteAddr) -> bool {
        let mut addr = from;
        for _ in 0..MAX_CYCLE {
            match self.callers.get(&addr) {
                Some((known, _)) if *known == code => return true,
                Some((_, caller)) => addr = *caller,
                None => return false,
            }
        }
        false
    }

    /// The chain from here on, if it is as it was.
    fn expected_from(&self, from: RemoteAddr) -> Vec<RemoteAddr> {
        let mut path = vec![from];
        let mut addr = from;
        let mut steps = Steps::default();
        while let Some((_, caller)) = self.callers.get(&addr)
            && !caller.is_null()
            && !self.copies.has(*caller)
            && steps.count(*caller).is_ok()
        {
            addr = *caller;
            path.push(addr);
        }
        path
    }

    /// Whether a frame is kept for calls of one function (`co_zombieframe`), so
    /// that its address alone says whose it is.
    pub(super) fn is_kept(&self, frame: &RawFrame) -> bool {
        let owner = self.owners.get(&frame.addr);
        owner.is_some_and(|(code, looks)| {
            *code == frame.code && looks.is_some_and(|looks| looks >= KEPT)
        })
    }

    /// The call between these two frames now, each being copied twice, in turn.
    /// If both were the same both times they were so in between, unless both
    /// have gone round and come back meanwhile.
    pub(super) fn observe(
        &mut self,
        memory: &dyn Memory,
        caller: RemoteAddr,
        callee: RemoteAddr,
        order: Order,
    ) -> Option<Observed> {
        let span = self.fields.span;
        self.proof.resize(4 * span, 0);
        let plan = match order {
            Order::Same => [callee, caller, callee, caller],
            Order::Reversed => [callee, caller, caller, callee],
        };
        let parts = self.proof.chunks_exact_mut(span).zip(plan);
        let mut ranges: Vec<_> = parts.map(|(buf, addr)| Range { addr, buf }).collect();
        if memory.read_scattered(&mut ranges) < plan.len() {
            return None;
        }
        let mut parts = self.proof.chunks_exact(span).zip(plan);
        let mut next = || {
            let (bytes, addr) = parts.next()?;
            self.fields.decode(addr, bytes)
        };
        let (callee_before, caller_before) = (next()?, next()?);
        let lives = callee_before.0.lives && caller_before.0.lives;
        if !lives || callee_before.1 != caller {
            return None;
        }
        let (one, two) = (next(), next());
        let (callee_after, caller_after) = match order {
            Order::Same => (one, two),
            Order::Reversed => (two, one),
        };
        // The callee may have gone on.
        let callee_stands = callee_after.is_some_and(|(seen, back)| {
            seen.lives && seen.frame.code == callee_before.0.frame.code && back == caller
        });
        Some(Observed {
            caller: caller_before.0.frame,
            callee: callee_before.0.frame,
            stands: callee_stands && caller_after == Some(caller_before),
        })
    }

    /// Whether a frame is called by the next and that by the one behind, all three being
    /// copied twice.
    pub(super) fn stands(&mut self, memory: &dyn Memory, row: &[Seen; 3]) -> bool {
        let span = self.fields.span;
        self.proof.resize(2 * row.len() * span, 0);
        let twice = row.iter().chain(row);
        let parts = self.proof.chunks_exact_mut(span).zip(twice);
        let range = |(buf, seen): (_, &Seen)| Range {
            addr: seen.frame.addr,
            buf,
        };
        let mut ranges: Vec<_> = parts.map(range).collect();
        if memory.read_scattered(&mut ranges) < 2 * row.len() {
            return false;
        }
        let callers = row.iter().skip(1).map(Some).chain([None]);
        let calls = row.iter().zip(callers);
        let mut copies = self
            .proof
            .chunks_exact(span)
            .zip(calls.clone().chain(calls));
        copies.all(|(bytes, (seen, caller))| {
            let decoded = self.fields.decode(seen.frame.addr, bytes);
            decoded.is_some_and(|(now, back)| {
                let is_same = now.lives && now.frame.code == seen.frame.code;
                is_same && caller.is_none_or(|caller| caller.frame.addr == back)
            })
        })
    }

    fn remember(&mut self, chain: &[Seen]) {
        if self.owners.len() > MAX_CALLERS {
            self.owners.clear();
        }
        for seen in chain {
            let fresh = (seen.frame.code, Some(0));
            let owner = self.owners.entry(seen.frame.addr).or_insert(fresh);
            match owner {
                (code, looks) if *code == seen.frame.code => {
                    *looks = looks.map(|looks| looks.saturating_add(1));
                }
                (_, looks) => *looks = None,
            }
        }
        if self.callers.len() > MAX_CALLERS {
            self.callers.clear();
        }
        let callers = chain.iter().skip(1).map(Some).chain([None]);
        for (seen, caller) in chain.iter().zip(callers) {
            let caller = caller.map_or(RemoteAddr::NULL, |caller| caller.frame.addr);
            if seen.lives {
                let known = (seen.frame.code, caller);
                self.callers.insert(seen.frame.addr, known);
            }
        }
    }

    /// The same for a thread that stands still.
    pub(super) fn follow(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
    ) -> Result<Vec<RawFrame>, StackError> {
        let chain = self.look(memory, thread)?;
        Ok(chain.into_iter().map(|seen| seen.frame).collect())
    }
}

/// Parts of the target's memory, copied a moment ago.
#[derive(Debug, Default)]
struct Copies {
    parts: Vec<Part>,
    bytes: Vec<u8>,
    /// What begins where: the part and where in `bytes`.
    starts: HashMap<RemoteAddr, usize>,
    /// What could not be read.
    gone: Vec<RemoteAddr>,
    /// What is to begin where, and in which part.
    wanted: Vec<(RemoteAddr, usize)>,
    order: Vec<(RemoteAddr, usize)>,
    runs: Vec<(usize, Part, usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    end: u64,
}

impl Copies {
    fn begin(&mut self) {
        self.bytes.clear();
        self.gone.clear();
        self.starts.clear();
    }

    fn has(&self, addr: RemoteAddr) -> bool {
        self.starts.contains_key(&addr)
    }

    fn get(&self, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let at = *self.starts.get(&addr)?;
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// Copies `first` (8 bytes) and then the frames, in this order but for those that lie
    /// near an earlier one: a range costs as much as some kilobytes of it. The first
    /// `certain` frames are copied in any case, others as far as they take few ranges.
    /// What cannot be read is left out.
    fn fetch(
        &mut self,
        memory: &dyn Memory,
        first: Option<RemoteAddr>,
        frames: &[RemoteAddr],
        certain: usize,
        span: usize,
    ) {
        self.plan(first, frames, certain, span as u64);
        let base = self.bytes.len();
        let len = |part: &Part| usize::try_from(part.end - part.start).unwrap_or(0);
        let total: usize = self.parts.iter().map(len).sum();
        self.bytes.resize(base + total, 0);
        let mut rest = &mut self.bytes[base..];
        let mut ranges = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (buf, behind) = rest.split_at_mut(len(part));
            rest = behind;
            ranges.push(Range {
                addr: RemoteAddr::new(part.start),
                buf,
            });
        }
        let filled = memory.read_scattered(&mut ranges);
        let mut at = base;
        let mut places = Vec::with_capacity(filled);
        for part in self.parts.iter().take(filled) {
            places.push((*part, at));
            at += len(part);
        }
        let mut left = Vec::new();
        for (addr, index) in &self.wanted {
            if let Some((part, at)) = places.get(*index)
                && let Ok(skip) = usize::try_from(addr.get() - part.start)
            {
                self.starts.insert(*addr, at + skip);
            } else if Some(*addr) != first {
                left.push(*addr);
            }
        }
        self.bytes.truncate(at);
        self.fetch_apart(memory, &left, span);
    }

    /// Copies frames each by itself: what lies between two of a run may not be there.
    fn fetch_apart(&mut self, memory: &dyn Memory, mut frames: &[RemoteAddr], span: usize) {
        for _ in 0..MAX_GONE {
            if frames.is_empty() {
                break;
            }
            let base = self.bytes.len();
            self.bytes.resize(base + frames.len() * span, 0);
            let parts = self.bytes[base..].chunks_exact_mut(span).zip(frames);
            let mut ranges: Vec<_> = parts
                .map(|(buf, addr)| Range { addr: *addr, buf })
                .collect();
            let filled = memory.read_scattered(&mut ranges).min(frames.len());
            self.bytes.truncate(base + filled * span);
            let (read, rest) = frames.split_at(filled);
            let places = (base..).step_by(span);
            self.starts.extend(read.iter().copied().zip(places));
            self.gone.extend(rest.first());
            frames = rest.get(1..).unwrap_or_default();
        }
    }

    /// Which ranges to copy, and in which of them each frame lies.
    fn plan(
        &mut self,
        first: Option<RemoteAddr>,
        frames: &[RemoteAddr],
        certain: usize,
        span: u64,
    ) {
        self.parts.clear();
        self.wanted.clear();
        let part = |addr: RemoteAddr, len| Part {
            start: addr.get(),
            end: addr.get().saturating_add(len),
        };
        if let Some(first) = first {
            self.parts.push(part(first, 8));
            self.wanted.push((first, 0));
        }
        self.order.clear();
        self.order
            .extend(frames.iter().enumerate().map(|(rank, addr)| (*addr, rank)));
        self.order.sort_unstable();
        // Runs of frames that lie near each other, with the rank of the first wanted in each.
        self.runs.clear();
        let mut from = 0;
        while let Some((addr, rank)) = self.order.get(from) {
            let (mut run, mut best, mut to) = (part(*addr, span), *rank, from + 1);
            while let Some((addr, rank)) = self.order.get(to)
                && addr.get() <= run.end.saturating_add(MAX_GAP)
            {
                run.end = run.end.max(part(*addr, span).end);
                best = best.min(*rank);
                to += 1;
            }
            self.runs.push((best, run, from, to));
            from = to;
        }
        self.runs.sort_unstable_by_key(|(best, ..)| *best);
        let mut spare = MAX_RANGES;
        for (best, run, from, to) in &self.runs {
            if *best >= certain {
                if spare == 0 {
                    break;
                }
                spare -= 1;
            }
            let index = self.parts.len();
            self.parts.push(*run);
            let members = self.order.get(*from..*to).unwrap_or_default();
            self.wanted
                .extend(members.iter().map(|(addr, _)| (*addr, index)));
        }
    }
}
