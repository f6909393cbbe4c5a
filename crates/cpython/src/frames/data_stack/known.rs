use std::time::Instant;

use firefinch_memory::RemoteAddr;
use hashbrown::HashSet;

use super::cells::Cells;
use super::debts::Debts;
use super::deferred::Deferred;
use super::entered::Entered;
use super::entry::Owner;
use super::pace::Pace;
use super::resumers::Resumers;
use super::trail::Trail;
use crate::frames::{CodeCounter, RawFrame, TRUSTED};

/// Where a thread's stack was found last time, which is what the next look
/// copies: stacks change at their newest end only, and seldom move.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where the current frame is kept, in 3.11 and 3.12.
    pub(super) cells: Cells,
    /// Whose the thread is, and when that was read if that is to be trusted.
    pub(super) owner: Owner,
    pub(super) owner_at: Option<Instant>,
    /// Its oldest loop was begun by a frame in the thread state.
    pub(super) based: bool,
    /// The oldest frame of the last stack that was followed to its end.
    pub(super) root: RemoteAddr,
    /// The current frame of the last look.
    pub(super) aim: RemoteAddr,
    /// Chunks that frames were in, newest first, and how much of them to copy.
    chunks: Vec<(RemoteAddr, usize)>,
    /// For how many looks far more was copied of the newest than it had frames.
    slack: u32,
    outside: Vec<Outside>,
    links: Vec<Link>,
    /// Where the interpreter's own frames were seen.
    between: HashSet<RemoteAddr>,
    /// What the last stack that was followed had below its newest frames.
    pub(super) trail: Trail,
    /// Whether a generator was ever met.
    has_generators: bool,
    /// The interpreter's count of code objects, and when it was read.
    pub(super) codes: Option<(CodeCounter, Instant)>,
    /// The last stack that was believed, newest frame first.
    pub(super) believed: Vec<RawFrame>,
    pub(super) pace: Pace,
    pub(super) debts: Debts,
    pub(super) deferred: Deferred,
    pub(super) entered: Entered,
    pub(super) resumers: Resumers,
}

/// A frame that lies in no chunk: a generator's, or the interpreter's own.
#[derive(Clone, Copy, Debug)]
struct Outside {
    addr: RemoteAddr,
    /// Looks since it was part of a stack.
    unused: u8,
}

/// What one of the interpreter's own frames, which lie between two frames of
/// Python where C code called it, led to.
///
/// It is kept for a moment ([`TRUSTED`]), and as long as the frames on both
/// sides stand where they stood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) addr: RemoteAddr,
    pub(super) previous: RemoteAddr,
    pub(super) callee: Option<RawFrame>,
    pub(super) caller: Option<RawFrame>,
    pub(super) at: Instant,
}

/// Chunks start at 16 KiB and double until a frame fits (`push_chunk`,
/// `Python/pystate.c`); a frame has at most a few million locals.
pub(super) const MAX_CHUNK: u64 = 64 << 20;
/// Copied beyond the frames in use: a few calls more.
const MARGIN: u64 = 512;
/// The newest frames: what is called and returns within some microseconds.
const NEWEST: usize = 1024;
/// To copy more than this before the newest frames takes longer than to begin with
/// them does, a fraction of a microsecond.
const LENGTHY: usize = 3072;
/// Copied needlessly before less is copied, and for how many looks in a row: what
/// recurses needs now more and now less.
const SLACK: usize = 4096;
const LONG: u32 = 4096;
const PAGE: u64 = 4096;
/// Copied ahead at most; the rest of a longer chain is read when it is met.
const MAX_CHUNKS: usize = 512;
const MAX_OUTSIDE: usize = 256;
/// Remembered before starting anew: where loops begin, on the C stack.
const MAX_BETWEEN: usize = 4096;
/// Looks for which a frame outside is copied without being met.
const PATIENCE: u8 = 4;

impl Known {
    /// What the next look copies after the thread state.
    pub(super) fn chunks(&self) -> &[(RemoteAddr, usize)] {
        &self.chunks
    }

    /// How far into the newest chunk its newest frames begin, most likely, if what
    /// lies before takes long to copy.
    pub(super) fn newest_at(&self) -> Option<usize> {
        let (chunk, _) = self.chunks.first()?;
        let at = usize::try_from(self.aim.checked_sub(*chunk)?).ok()?;
        let skip = at.checked_sub(NEWEST)?;
        (skip >= LENGTHY).then_some(skip)
    }

    /// Whether `addr` lies in what is copied of the chunks.
    pub(super) fn is_in_chunk(&self, addr: RemoteAddr) -> bool {
        let inside = |(start, len): &(RemoteAddr, usize)| {
            addr.checked_sub(*start)
                .is_some_and(|offset| offset < *len as u64)
        };
        self.chunks.iter().any(inside)
    }

    /// The frames in no chunk that the next look, at `now`, copies.
    pub(super) fn outside(&self, now: Instant) -> impl Iterator<Item = RemoteAddr> {
        let linked = move |addr| {
            let mut links = self.links.iter();
            links.any(|link| link.addr == addr && link.is_fresh(now))
        };
        let all = self.outside.iter().map(|outside| outside.addr);
        all.filter(move |addr| !linked(*addr))
    }

    /// What is still known of the frame at `addr`, above which `callee` lies.
    pub(super) fn link(
        &self,
        addr: RemoteAddr,
        callee: Option<&RawFrame>,
        now: Instant,
    ) -> Option<Link> {
        let here = |link: &&Link| {
            link.addr == addr && link.callee.as_ref() == callee && link.is_fresh(now)
        };
        self.links.iter().find(here).copied()
    }

    /// The interpreter's own frame at `link.addr` was read. What it leads to is not
    /// believed where a generator is at either end: those come and go in the same
    /// memory.
    pub(super) fn meet_link(&mut self, link: Link) {
        if self.between.len() >= MAX_BETWEEN {
            self.between.clear();
        }
        self.between.insert(link.addr);
        let ends = [link.callee, link.caller].into_iter().flatten();
        if ends.into_iter().any(|frame| !self.is_in_chunk(frame.addr)) {
            self.links.retain(|known| known.addr != link.addr);
            return;
        }
        if let Some(known) = self.links.iter_mut().find(|known| known.addr == link.addr) {
            *known = link;
            return;
        }
        if self.links.len() >= MAX_OUTSIDE {
            self.links.clear();
        }
        self.links.push(link);
    }

    /// Whether one of the interpreter's own frames was seen there.
    pub(super) fn was_link(&self, addr: RemoteAddr) -> bool {
        self.between.contains(&addr)
    }

    pub(super) fn forget_links(&mut self) {
        self.links.clear();
    }

    /// Whether a look that was planned like this has copied all of `chunk` that
    /// is in use, up to `top`; if not, the next one will.
    pub(super) fn covers(&mut self, chunk: RemoteAddr, top: RemoteAddr) -> bool {
        let used = top.checked_sub(chunk).filter(|used| *used <= MAX_CHUNK);
        let Some(used) = used.filter(|_| !chunk.is_null()) else {
            let had = !self.chunks.is_empty();
            self.chunks.clear();
            return !had;
        };
        // Within the page of the last frame there is nothing unmapped.
        let top = chunk.get().saturating_add(used);
        let page_end = top.checked_next_multiple_of(PAGE).unwrap_or(top) - chunk.get();
        let wanted = (used + MARGIN).min(page_end);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let used = usize::try_from(used).unwrap_or(usize::MAX);
        if let Some(index) = self.chunks.iter().position(|(start, _)| *start == chunk) {
            // Those before it were newer, and are gone.
            let newest = index == 0;
            self.chunks.drain(..index);
            let Some((_, len)) = self.chunks.first_mut() else {
                return false;
            };
            let is_slack = *len > wanted.saturating_add(SLACK);
            self.slack = if is_slack { self.slack + 1 } else { 0 };
            let enough = *len >= used;
            if !enough || self.slack > LONG {
                *len = wanted;
                self.slack = 0;
            }
            return enough && newest;
        }
        self.chunks.insert(0, (chunk, wanted));
        self.chunks.truncate(MAX_CHUNKS);
        false
    }

    /// A frame was met in this older chunk, which ends `len` bytes into it.
    pub(super) fn meet_chunk(&mut self, chunk: RemoteAddr, len: usize) {
        if let Some((_, known)) = self.chunks.iter_mut().find(|(start, _)| *start == chunk) {
            *known = len.max(*known);
        } else if self.chunks.len() < MAX_CHUNKS {
            self.chunks.push((chunk, len));
        }
    }

    /// A frame was met that lies in no chunk.
    pub(super) fn meet_outside(&mut self, addr: RemoteAddr) {
        if let Some(outside) = self.outside.iter_mut().find(|o| o.addr == addr) {
            outside.unused = 0;
        } else if self.outside.len() < MAX_OUTSIDE {
            self.outside.push(Outside { addr, unused: 0 });
        }
    }

    /// A generator's frame was met.
    pub(super) fn meet_generator(&mut self) {
        self.has_generators = true;
    }

    pub(super) fn has_generators(&self) -> bool {
        self.has_generators
    }

    /// A whole stack was followed: what was not met for a while is not copied again.
    pub(super) fn age(&mut self) {
        for outside in &mut self.outside {
            outside.unused = outside.unused.saturating_add(1);
        }
        self.outside.retain(|outside| outside.unused <= PATIENCE);
    }

    /// Nothing of what was known could be read.
    pub(super) fn forget(&mut self) {
        self.chunks.clear();
        self.outside.clear();
        self.links.clear();
        self.owner_at = None;
        self.codes = None;
        self.cells = Cells::default();
    }

    /// The oldest frame of the last stack that was believed which lies in the
    /// newest chunk.
    pub(super) fn lowest_in(&self, chunk: RemoteAddr) -> Option<RemoteAddr> {
        let (start, len) = self.chunks.first().filter(|(start, _)| *start == chunk)?;
        let inside = |addr: &RemoteAddr| {
            let offset = addr.checked_sub(*start);
            offset.is_some_and(|offset| offset < *len as u64)
        };
        let mut frames = self.believed.iter().rev().map(|frame| frame.addr);
        frames.find(inside)
    }

    /// How many of the oldest frames are those of the last stack that was
    /// believed, in the same places.
    pub(super) fn unchanged(&self, frames: &[RawFrame]) -> usize {
        let pairs = frames.iter().rev().zip(self.believed.iter().rev());
        pairs.take_while(|(now, before)| now == before).count()
    }
}

impl Link {
    fn is_fresh(&self, now: Instant) -> bool {
        is_fresh(self.at, now)
    }
}

/// Whether what was read then is still believed.
pub(super) fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < TRUSTED
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look is planned anew when the stack outgrows what is copied, moves to
    /// another chunk, or has shrunk a lot; not for a call more or less.
    #[test]
    fn the_plan_follows_the_stack() {
        let at = RemoteAddr::new;
        let mut known = Known::default();
        assert!(!known.covers(at(0x10000), at(0x10100)));
        assert!(known.covers(at(0x10000), at(0x10100)));
        assert!(known.covers(at(0x10000), at(0x10200)));
        assert!(!known.covers(at(0x10000), at(0x10800)));
        assert!(known.covers(at(0x10000), at(0x10800)));
        // What recurses needs as much again; what does not, no more in the end.
        assert!(!known.covers(at(0x10000), at(0x12000)));
        assert!((0..LONG).all(|_| known.covers(at(0x10000), at(0x10100))));
        assert!(known.covers(at(0x10000), at(0x12000)));
        assert!((0..LONG).all(|_| known.covers(at(0x10000), at(0x10100))));
        assert!(known.covers(at(0x10000), at(0x10100)));
        assert!(!known.covers(at(0x10000), at(0x12000)));
        (0..=LONG).for_each(|_| assert!(known.covers(at(0x10000), at(0x10800))));
        // Into a new chunk and back again.
        assert!(!known.covers(at(0x20000), at(0x20100)));
        assert_eq!(known.chunks().len(), 2);
        assert!(!known.covers(at(0x10000), at(0x10800)));
        assert_eq!(known.chunks().len(), 1);
        assert!(known.covers(at(0x10000), at(0x10800)));
        // Nothing beyond the page of the last frame is touched.
        assert!(!known.covers(at(0x10000), at(0x10ff8)));
        assert_eq!(known.chunks(), [(at(0x10000), 0x1000)]);
        // A top that is nowhere near the chunk is not believed.
        assert!(!known.covers(at(0x10000), at(0x9000)));
        assert!(known.chunks().is_empty());
    }
}
