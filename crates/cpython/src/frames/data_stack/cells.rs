use firefinch_memory::RemoteAddr;

/// Where evaluation loops keep the current frame, in 3.11 and 3.12: each in a
/// place of its own on the C stack, of which the thread state names that of the
/// newest loop.
///
/// Loops begin and end all the time where Python calls C that calls Python (a
/// class, a property, a generator), so the place that was the right one last time
/// is the wrong one at every other look. But they are near each other, and the
/// same ones come back, so all those seen lately are copied at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cells {
    /// All those seen lately, and before that.
    recent: Option<Extent>,
    before: Option<Extent>,
    /// How many were seen since `recent` began.
    seen: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first: u64,
    /// Where the last one begins.
    last: u64,
}

/// The bytes of one.
pub(super) const CELL: usize = 8;
/// Looks after which those not seen since are forgotten, at most twice that.
const LATELY: u32 = 4096;
/// Copied at most; a recursion through C has loops all over its stack.
const MAX_BYTES: u64 = 4096;

impl Extent {
    /// This one and another; `None` if they are too far apart.
    fn with(self, other: Self) -> Option<Self> {
        let first = self.first.min(other.first);
        let last = self.last.max(other.last);
        (last - first < MAX_BYTES).then_some(Self { first, last })
    }
}

impl Cells {
    /// What to copy, if anything is known.
    pub(super) fn plan(&self) -> Option<(RemoteAddr, usize)> {
        let recent = self.recent?;
        let both = self.before.and_then(|before| recent.with(before));
        let Extent { first, last } = both.unwrap_or(recent);
        let len = usize::try_from(last - first).ok()?;
        Some((RemoteAddr::new(first), len.checked_add(CELL)?))
    }

    /// Whether they are copied once more after it was asked which loop is the newest: where
    /// loops begin and end, that one may have begun since, or have ended before.
    pub(super) fn are_several(&self) -> bool {
        self.plan().is_some_and(|(_, len)| len > CELL)
    }

    /// The newest loop had its own here.
    pub(super) fn meet(&mut self, cell: RemoteAddr) {
        let here = Extent {
            first: cell.get(),
            last: cell.get(),
        };
        self.seen += 1;
        if self.seen >= LATELY {
            (self.before, self.recent, self.seen) = (self.recent, None, 0);
        }
        let joined = self.recent.and_then(|recent| recent.with(here));
        self.recent = Some(joined.unwrap_or(here));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All places seen lately are copied in one piece, however often the newest
    /// loop changes; not those that are far away, nor for ever.
    #[test]
    fn places_seen_lately() {
        let at = RemoteAddr::new;
        let mut cells = Cells::default();
        assert_eq!(cells.plan(), None);
        for cell in [0x7000, 0x7400, 0x6f00, 0x7000] {
            cells.meet(at(cell));
        }
        assert_eq!(cells.plan(), Some((at(0x6f00), 0x508)));
        assert!(cells.are_several());
        cells.meet(at(0x9000));
        assert_eq!(cells.plan(), Some((at(0x9000), 8)));
        assert!(!cells.are_several());
        (0..LATELY).for_each(|_| cells.meet(at(0x9100)));
        assert_eq!(cells.plan(), Some((at(0x9000), 0x108)));
        (0..LATELY).for_each(|_| cells.meet(at(0x9100)));
        assert_eq!(cells.plan(), Some((at(0x9100), 8)));
        cells.meet(at(u64::MAX));
        cells.meet(at(0));
        assert_eq!(cells.plan(), Some((at(0), 8)));
    }
}
