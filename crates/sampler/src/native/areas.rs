use firefinch_memory::RemoteAddr;
use firefinch_process::Mapping;

/// The parts of a target's memory that stacks can lie in, to know where to
/// stop reading: sorted, side by side or apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Areas(Vec<Area>);

/// A range of addresses that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: RemoteAddr,
    pub(super) end: RemoteAddr,
    /// It may have grown downward since: the first thread's stack.
    grows: bool,
}

/// How far down a growing area may have grown: a stack is not above what is
/// just below it. The usual limit of the first thread's stack is 8 MB, which
/// a program may raise.
const MAX_GROWTH: u64 = 1 << 30;

impl Area {
    #[cfg(test)]
    pub(super) fn fixed(start: RemoteAddr, end: RemoteAddr) -> Self {
        let grows = false;
        Self { start, end, grows }
    }

    /// The lowest address that may belong to it.
    pub(super) fn lowest(&self) -> RemoteAddr {
        match self.grows {
            true => RemoteAddr::NULL,
            false => self.start,
        }
    }
}

impl Areas {
    pub(super) fn of(mappings: &[Mapping]) -> Self {
        let usable = mappings.iter().filter(|m| m.perms.read && m.perms.write);
        let area = |mapping: &Mapping| Area {
            start: mapping.start,
            end: mapping.end,
            grows: mapping.backing == firefinch_process::Backing::Stack,
        };
        Self(usable.map(area).collect())
    }

    /// The area that a stack pointer lies in, as it is known.
    pub(super) fn find(&self, sp: RemoteAddr) -> Option<Area> {
        let at = self.0.partition_point(|area| area.end <= sp);
        let area = self.0.get(at)?;
        let below = area.start.checked_sub(sp);
        let inside = sp >= area.start || (area.grows && below.is_some_and(|n| n < MAX_GROWTH));
        inside.then_some(*area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address is in the area around it; below the first thread's stack it is in that, and anywhere else in none.
    #[test]
    fn inside_or_below_the_stack() {
        let at = RemoteAddr::new;
        let area = |start, end, grows| Area {
            start: at(start),
            end: at(end),
            grows,
        };
        let heap = area(0x1000, 0x3000, false);
        let stack = area(0x8000, 0x9000, true);
        let areas = Areas(vec![heap, stack]);
        for (sp, expected) in [
            (0xfff, None),
            (0x1000, Some(heap)),
            (0x2fff, Some(heap)),
            (0x3000, Some(stack)),
            (0x8fff, Some(stack)),
            (0x9000, None),
        ] {
            assert_eq!(areas.find(at(sp)), expected, "{sp:#x}");
        }
        let areas = Areas(vec![heap, area(0x8000, 0x9000, false)]);
        assert_eq!(areas.find(at(0x3000)), None);
    }
}
