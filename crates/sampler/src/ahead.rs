use std::cell::{Cell, RefCell};

use firefinch_memory::{Memory, Range, ReadError, ReadErrorKind, RemoteAddr};

use crate::native::Capture;

/// Pieces of a target's memory that are copied before anybody asks for them: those that
/// were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// What was asked for lately, and before that.
    lately: Vec<Piece>,
    before: Vec<Piece>,
    turns: u32,
    plan: Vec<Piece>,
    /// Those of the plan that are copied, one after another.
    bytes: Vec<u8>,
    copied: usize,
    /// For how many turns nothing is copied ahead.
    rest: u32,
    /// How often it fell short lately, less how often it did not.
    shortfalls: u32,
}

/// Where it begins, and its length.
pub(crate) type Piece = (RemoteAddr, usize);

/// What was asked for is copied ahead this often, and at most twice as often.
const TURNS: u32 = 8;
/// Once it has fallen short nothing is copied ahead for so many turns, and for twice as
/// many each time that it does again, so many times: where what is asked for is ever
/// something else, copying costs more than it helps.
const REST: u32 = 4;
const MOST_SHORTFALLS: u32 = 8;
/// More pieces, or more bytes, are not copied on a guess.
const MAX_PIECES: usize = 32;
const MAX_BYTES: usize = 256 << 10;
/// What is not longer is no part of a stack but of what stacks refer to: a word of a code
/// object, or an instruction.
const SHORT: usize = 16;

impl Ahead {
    /// Whether there is something to copy, which is planned now.
    pub(crate) fn plan(&mut self) -> bool {
        self.copied = 0;
        self.plan.clear();
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        self.plan.extend(self.lately.iter().chain(&self.before));
        self.plan.sort_unstable();
        self.plan.dedup_by(|next, piece| join(piece, *next));
        let len: usize = self.plan.iter().map(|(_, len)| len).sum();
        if self.plan.len() > MAX_PIECES || len > MAX_BYTES {
            self.plan.clear();
            return false;
        }
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        !self.plan.is_empty()
    }

    /// Copies what is planned, by one call.
    pub(crate) fn copy(&mut self, memory: &dyn Memory) {
        let mut rest = self.bytes.as_mut_slice();
        let ranges = self.plan.iter().map(|(addr, len)| {
            let (buf, after) = std::mem::take(&mut rest).split_at_mut(*len);
            rest = after;
            Range { addr: *addr, buf }
        });
        let mut ranges: Vec<_> = ranges.collect();
        self.copied = memory.read_scattered(&mut ranges);
    }

    /// The bytes at `addr`, if so many were copied in one piece.
    pub(crate) fn find(&self, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let mut begin = 0;
        for piece in self.plan.iter().take(self.copied) {
            if let Some(skip) = within(piece, addr, len) {
                let from = begin + skip;
                return self.bytes.get(from..from + len);
            }
            begin += piece.1;
        }
        None
    }

    /// What was copied was all that was needed.
    pub(crate) fn suffices(&mut self) {
        self.shortfalls = self.shortfalls.saturating_sub(1);
    }

    /// It was not.
    pub(crate) fn falls_short(&mut self) {
        self.rest = REST << self.shortfalls;
        self.shortfalls = (self.shortfalls + 1).min(MOST_SHORTFALLS);
    }

    /// Gives away its buffer, or takes one.
    pub(crate) fn swap(&mut self, buffer: &mut Vec<u8>) {
        std::mem::swap(&mut self.bytes, buffer);
        self.copied = 0;
    }

    /// So much was asked for this time.
    pub(crate) fn learn(&mut self, asked: &[Piece]) {
        self.turns += 1;
        if self.turns >= TURNS {
            self.turns = 0;
            self.before = std::mem::take(&mut self.lately);
        }
        for piece in asked {
            let known = self.lately.iter().rev();
            let mut known = known.take(MAX_PIECES + 1);
            let is_known = known.any(|known| within(known, piece.0, piece.1).is_some());
            if !is_known && self.lately.len() <= MAX_PIECES {
                self.lately.push(*piece);
            }
        }
    }
}

/// How far into a piece something is that lies wholly in it.
fn within((start, size): &Piece, addr: RemoteAddr, len: usize) -> Option<usize> {
    let skip = usize::try_from(addr.checked_sub(*start)?).ok()?;
    let end = skip.checked_add(len)?;
    (end <= *size).then_some(skip)
}

/// What lies closer together is copied in one piece, which takes less than two. There is
/// no whole page between, so what is between is there as well.
const NEAR: usize = 1024;

/// Makes a piece hold the next one as well, if that begins in it or near its end.
fn join(piece: &mut Piece, next: Piece) -> bool {
    let skip = next.0.checked_sub(piece.0);
    let skip = skip.and_then(|skip| usize::try_from(skip).ok());
    let Some(skip) = skip.filter(|skip| *skip <= piece.1.saturating_add(NEAR)) else {
        return false;
    };
    piece.1 = piece.1.max(skip.saturating_add(next.1));
    true
}

/// The memory of a thread, with what was copied of it while it stood still. Notes what
/// is asked for, so that it is copied ahead the next time.
pub(crate) struct Copied<'a> {
    memory: &'a dyn Memory,
    /// What was copied, and the machine stack, if any was.
    copies: Option<(&'a Ahead, &'a Capture)>,
    stands: bool,
    /// Whether what is short is noted as well.
    minds_short: Cell<bool>,
    asked: RefCell<Vec<Piece>>,
    missed: Cell<bool>,
}

impl<'a> Copied<'a> {
    /// Of a thread that stands still.
    pub(crate) fn standing(
        memory: &'a dyn Memory,
        copies: Option<(&'a Ahead, &'a Capture)>,
    ) -> Self {
        Self {
            memory,
            copies,
            stands: true,
            minds_short: Cell::new(false),
            asked: RefCell::default(),
            missed: Cell::new(false),
        }
    }

    /// Of one that has gone on since. What is not copied cannot be had any more, unless
    /// it is too short to be part of a stack: that is read of what stacks refer to, code
    /// objects and their instructions. Or unless there was nothing, as below what was in
    /// use of the machine stack, where frames were looked for since they were there once.
    pub(crate) fn left(memory: &'a dyn Memory, ahead: &'a Ahead, stack: &'a Capture) -> Self {
        Self {
            stands: false,
            ..Self::standing(memory, Some((ahead, stack)))
        }
    }

    /// What is asked for from now on is wanted each time, however short.
    pub(crate) fn mind_short(&self) {
        self.minds_short.set(true);
    }

    /// Whether the thread stands still.
    pub(crate) fn is_standing(&self) -> bool {
        self.stands
    }

    /// What was asked for, and whether all of it could be had.
    pub(crate) fn asked(self) -> (Vec<Piece>, bool) {
        (self.asked.into_inner(), !self.missed.get())
    }

    fn find(&self, addr: RemoteAddr, len: usize) -> Option<&'a [u8]> {
        let (ahead, stack) = self.copies?;
        stack.copied(addr, len).or_else(|| ahead.find(addr, len))
    }

    fn fill(&self, range: &mut Range<'_>) -> bool {
        let bytes = self.find(range.addr, range.buf.len());
        if let Some(bytes) = bytes {
            range.buf.copy_from_slice(bytes);
        }
        bytes.is_some()
    }

    /// Where there was nothing it does not matter what is there now.
    fn fill_unused(&self, range: &mut Range<'_>) -> bool {
        let Some((_, stack)) = self.copies.filter(|_| !self.stands) else {
            return false;
        };
        let len = range.buf.len();
        let Some(unused) = stack.unused(range.addr, len) else {
            return false;
        };
        let (unused, used) = range.buf.split_at_mut(unused);
        let start = range.addr.offset(unused.len() as u64);
        let nothing = used.is_empty().then_some(&[][..]);
        let Some(bytes) = nothing.or_else(|| stack.copied(start, used.len())) else {
            return false;
        };
        used.copy_from_slice(bytes);
        self.memory.read(range.addr, unused).is_ok()
    }

    fn note(&self, addr: RemoteAddr, len: usize) {
        self.asked.borrow_mut().push((addr, len));
    }
}

impl Memory for Copied<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        if len > SHORT || self.minds_short.get() {
            self.note(addr, len);
        }
        if self.fill(&mut Range { addr, buf }) {
            return Ok(());
        }
        if !self.stands && len > SHORT {
            self.missed.set(true);
            let kind = ReadErrorKind::Gone;
            return Err(ReadError { addr, len, kind });
        }
        self.memory.read(addr, buf)
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        for range in &*ranges {
            self.note(range.addr, range.buf.len());
        }
        let mut done = 0;
        for range in &mut *ranges {
            if !(self.fill(range) || self.fill_unused(range)) {
                break;
            }
            done += 1;
        }
        if done == ranges.len() {
            return done;
        }
        if self.stands {
            return self.memory.read_scattered(ranges);
        }
        self.missed.set(true);
        done
    }
}

#[cfg(test)]
mod tests {
    use firefinch_memory::Snapshot;

    use super::*;

    const FRAMES: RemoteAddr = RemoteAddr::new(0x1000);
    const STATE: RemoteAddr = RemoteAddr::new(0x2000);
    const CODE: RemoteAddr = RemoteAddr::new(0x3000);

    fn memory() -> Snapshot {
        let mut memory = Snapshot::new();
        for (addr, value) in [(FRAMES, 1), (STATE, 2), (CODE, 3)] {
            memory.insert(addr, vec![value; 256]);
        }
        memory
    }

    /// One turn in which these are asked for of a thread that stands still.
    fn turn(ahead: &mut Ahead, asked: &[Piece]) {
        let memory = memory();
        let standing = Copied::standing(&memory, None);
        for (addr, len) in asked {
            assert_eq!(read(&standing, *addr, *len), 1);
        }
        let (asked, is_whole) = standing.asked();
        assert!(is_whole);
        ahead.learn(&asked);
    }

    /// How many of one range could be read.
    fn read(memory: &dyn Memory, addr: RemoteAddr, len: usize) -> usize {
        let mut buf = vec![0; len];
        let buf = &mut buf;
        memory.read_scattered(&mut [Range { addr, buf }])
    }

    /// What was asked for is copied by one call until it was not asked for in a while, and what touches in one piece.
    #[test]
    fn what_was_asked_for_lately() {
        let mut ahead = Ahead::default();
        assert!(!ahead.plan());
        turn(&mut ahead, &[(FRAMES, 64), (STATE, 32)]);
        turn(&mut ahead, &[(FRAMES.offset(64), 32), (STATE.offset(8), 8)]);
        assert!(ahead.plan());
        assert_eq!(ahead.find(FRAMES, 8), None);
        ahead.copy(&memory());
        assert_eq!(ahead.plan, [(FRAMES, 96), (STATE, 32)]);
        assert_eq!(ahead.find(FRAMES.offset(48), 48), Some(&[1; 48][..]));
        assert_eq!(ahead.find(FRAMES.offset(48), 49), None);
        assert_eq!(ahead.find(STATE, 32), Some(&[2; 32][..]));
        assert_eq!(ahead.find(STATE.offset(u64::MAX), 2), None);
        for _ in 0..2 * TURNS {
            turn(&mut ahead, &[(STATE, 32)]);
        }
        assert!(ahead.plan());
        assert_eq!(ahead.plan, [(STATE, 32)]);
        // One piece that has gone does not hide those before it.
        turn(&mut ahead, &[(FRAMES, 64)]);
        assert!(ahead.plan());
        let mut less = Snapshot::new();
        less.insert(FRAMES, vec![1; 256]);
        ahead.copy(&less);
        assert_eq!(ahead.find(FRAMES, 64), Some(&[1; 64][..]));
        assert_eq!(ahead.find(STATE, 32), None);
    }

    /// More than a guess is worth is not copied ahead.
    #[test]
    fn no_more_than_that() {
        let mut ahead = Ahead::default();
        let pieces: Vec<_> = (0..64).map(|at| (FRAMES.offset(at * 4096), 2)).collect();
        ahead.learn(&pieces);
        assert!(!ahead.plan());
        let mut ahead = Ahead::default();
        ahead.learn(&[(FRAMES, MAX_BYTES + 1)]);
        assert!(!ahead.plan());
        assert_eq!(ahead.bytes.capacity(), 0);
    }

    /// Where it falls short again and again, nothing is copied ahead for longer and longer.
    #[test]
    fn it_rests() {
        let mut ahead = Ahead::default();
        let mut rests = Vec::new();
        for _ in 0..4 {
            turn(&mut ahead, &[(STATE, 32)]);
            ahead.falls_short();
            let mut turns = 0;
            while !ahead.plan() {
                turns += 1;
            }
            rests.push(turns);
        }
        assert_eq!(rests, [REST, REST * 2, REST * 4, REST * 8]);
        for _ in 0..4 {
            ahead.suffices();
        }
        ahead.falls_short();
        assert_eq!(ahead.rest, REST);
        (0..100).for_each(|_| ahead.falls_short());
        assert_eq!(ahead.rest, REST << MOST_SHORTFALLS);
    }

    /// Of a thread that has gone on only what was copied is had, and words that are no part of a stack; anything else is missed and not read.
    #[test]
    fn what_was_not_copied_is_missed() {
        let (memory, capture) = (memory(), Capture::empty());
        let mut ahead = Ahead::default();
        turn(&mut ahead, &[(FRAMES, 64)]);
        assert!(ahead.plan());
        let mut then = Snapshot::new();
        then.insert(FRAMES, vec![9; 64]);
        ahead.copy(&then);
        let left = Copied::left(&memory, &ahead, &capture);
        assert_eq!(left.read_u64(FRAMES), Ok(0x0909_0909_0909_0909));
        assert_eq!(left.read_u64(CODE), Ok(0x0303_0303_0303_0303));
        assert!(left.asked().1);
        for len in [65, 8] {
            let left = Copied::left(&memory, &ahead, &capture);
            assert_eq!(read(&left, FRAMES.offset(65 - len as u64), len), 0);
            assert!(!left.asked().1);
        }
        let left = Copied::left(&memory, &ahead, &capture);
        assert!(left.read(CODE, &mut [0; SHORT + 1]).is_err());
        assert_eq!(left.asked(), (vec![(CODE, SHORT + 1)], false));
        // One that stands still yet is read.
        let copies = Some((&ahead, &capture));
        let standing = Copied::standing(&memory, copies);
        assert!(standing.read(CODE, &mut [0; SHORT + 1]).is_ok());
        assert_eq!(standing.read_u64(FRAMES), Ok(0x0909_0909_0909_0909));
        assert_eq!(read(&standing, STATE, 32), 1);
        standing.mind_short();
        assert_eq!(standing.read_u32(CODE), Ok(0x0303_0303));
        let asked = vec![(CODE, SHORT + 1), (STATE, 32), (CODE, 4)];
        assert_eq!(standing.asked(), (asked, true));
    }

    /// Where frames were looked for below what was in use of the stack there were none: it is as it is now, and what was in use as it was.
    #[test]
    fn what_is_below_the_stack() {
        let memory = memory();
        let capture = Capture::holding(128, FRAMES.offset(128), &[9; 64]);
        let ahead = Ahead::default();
        let left = Copied::left(&memory, &ahead, &capture);
        let mut buf = [0; 32];
        let (addr, buf) = (FRAMES.offset(112), &mut buf);
        assert_eq!(left.read_scattered(&mut [Range { addr, buf }]), 1);
        assert_eq!(buf[..16], [1; 16]);
        assert_eq!(buf[16..], [9; 16]);
        assert_eq!(read(&left, FRAMES, 8), 1);
        assert_eq!(read(&left, FRAMES.offset(184), 8), 1);
        assert!(left.asked().1);
        for (skip, len) in [(112, 81), (192, 8)] {
            let left = Copied::left(&memory, &ahead, &capture);
            assert_eq!(read(&left, FRAMES.offset(skip), len), 0);
            assert!(!left.asked().1);
        }
    }
}
