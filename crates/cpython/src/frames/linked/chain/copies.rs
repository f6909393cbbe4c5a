//! Frames of a target, copied with as few calls as can be.

use firefinch_memory::{Memory, Range, RemoteAddr};
use hashbrown::HashMap;

/// Ranges that these may take.
const MAX_RANGES: usize = 16;
/// Bytes between two frames that are copied along: a further range takes as long.
const MAX_GAP: u64 = 2048;
/// Frames that cannot be read before no more are tried at this look.
const MAX_GONE: usize = 16;

/// Parts of the target's memory, copied a moment ago.
#[derive(Debug, Default)]
pub(super) struct Copies {
    parts: Vec<Part>,
    bytes: Vec<u8>,
    /// What begins where: the part and where in `bytes`.
    pub(super) starts: HashMap<RemoteAddr, usize>,
    /// What could not be read.
    pub(super) gone: Vec<RemoteAddr>,
    /// What is to begin where, and in which part.
    wanted: Vec<(RemoteAddr, usize)>,
    order: Vec<(RemoteAddr, usize)>,
    runs: Vec<(usize, Part, usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    start: u64,
    end: u64,
}

impl Copies {
    pub(super) fn begin(&mut self) {
        self.bytes.clear();
        self.gone.clear();
        self.starts.clear();
    }

    pub(super) fn has(&self, addr: RemoteAddr) -> bool {
        self.starts.contains_key(&addr)
    }

    pub(super) fn get(&self, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let at = *self.starts.get(&addr)?;
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// Copies `first` (8 bytes) and then the frames, in this order but for those that lie
    /// near an earlier one: a range costs as much as some kilobytes of it. The first
    /// `certain` frames are copied in any case, others as far as they take few ranges.
    /// What cannot be read is left out.
    pub(super) fn fetch(
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
