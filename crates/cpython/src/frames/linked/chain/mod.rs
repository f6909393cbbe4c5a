//! One look at a chain of frames: read with as few calls as can be.

mod copies;
mod executing;
mod fields;
mod observed;

use firefinch_memory::{Bytes, Memory, Range, RemoteAddr};
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use self::copies::Copies;
use self::fields::Fields;
pub(super) use self::observed::{Observed, Order};
use crate::frames::{RawFrame, StackError, Steps};
use crate::layout::{Field, Layout, MissingField};

/// A frame in one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
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

/// Looks with one code object after which a frame is taken to be kept for that.
const KEPT: u32 = 16;

/// Callers remembered before starting anew.
const MAX_CALLERS: usize = 1 << 16;
/// Frames of a thread that are looked at beside those of the last look.
const MAX_RECENT: usize = 96;
/// Looks for which they are, after one whose chain could not be told.
const WIDE: u32 = 256;
/// Threads remembered before starting anew.
const MAX_THREADS: usize = 1 << 12;
/// Pages that are found before a look.
const MAX_PAGES: usize = 8;
const PAGE: u64 = 4096;
/// Functions that call each other in turn are rarely more than these.
const MAX_CYCLE: usize = 16;

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

    /// Has the kernel find the pages of `thread` and of its recent frames, so that the next
    /// look is quick. It reads something else in them: the thread waits with its next store
    /// to what has just been copied, and the look would show the moment before that.
    pub(super) fn warm(&self, memory: &dyn Memory, thread: RemoteAddr) {
        let head = thread.offset(self.thread_frame as u64);
        let recent = self.recent.get(&thread);
        let frames = recent.and_then(|recent| recent.frames.get(..recent.last));
        let mut pages: SmallVec<[u64; MAX_PAGES]> = SmallVec::new();
        for addr in [&head].into_iter().chain(frames.unwrap_or_default()) {
            let page = addr.get() & !(PAGE - 1);
            if pages.len() < MAX_PAGES && !pages.contains(&page) {
                pages.push(page);
            }
        }
        let mut words = [[0; 8]; MAX_PAGES];
        let ranges = pages.iter().zip(&mut words).map(|(page, word)| Range {
            addr: RemoteAddr::new(*page),
            buf: word,
        });
        let mut ranges: SmallVec<[Range<'_>; MAX_PAGES]> = ranges.collect();
        memory.read_scattered(&mut ranges);
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
