use std::cell::RefCell;
use std::fmt;
use std::ops::Range as Span;

use firefinch_memory::{Memory, Range, ReadError, RemoteAddr};

/// The memory of a thread that stands still, and a piece of its machine stack that
/// is wanted as well: that is copied by the same call as what is read first, since
/// the thread stands still for each call more. What lies in the piece, as what loops
/// keep there, is taken from the copy.
pub(super) struct WithStack<'a> {
    memory: &'a dyn Memory,
    start: RemoteAddr,
    stack: RefCell<Stack<'a>>,
}

enum Stack<'a> {
    /// Where to copy it.
    Wanted(&'a mut [u8]),
    Copied(&'a mut [u8]),
    /// It cannot be read.
    Failed,
}

impl<'a> WithStack<'a> {
    /// The stack from `start` on is to fill `buffer`.
    pub(super) fn new(memory: &'a dyn Memory, start: RemoteAddr, buffer: &'a mut [u8]) -> Self {
        Self {
            memory,
            start,
            stack: RefCell::new(Stack::Wanted(buffer)),
        }
    }

    /// Whether the stack is copied, which is done now if nothing else was read.
    pub(super) fn finish(self) -> bool {
        let wanted = matches!(&*self.stack.borrow(), Stack::Wanted(_));
        if wanted {
            self.read_scattered(&mut []);
        }
        matches!(self.stack.into_inner(), Stack::Copied(_))
    }

    /// Where in a piece of this length something is, if it is wholly in it.
    fn within(&self, piece: usize, addr: RemoteAddr, len: usize) -> Option<Span<usize>> {
        let skip = usize::try_from(addr.checked_sub(self.start)?).ok()?;
        let end = skip.checked_add(len).filter(|end| *end <= piece)?;
        Some(skip..end)
    }
}

impl Memory for WithStack<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        if let Stack::Copied(stack) = &*self.stack.borrow()
            && let Some(place) = self.within(stack.len(), addr, buf.len())
            && let Some(bytes) = stack.get(place)
        {
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        self.memory.read(addr, buf)
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let (stack, is_wanted) = match self.stack.replace(Stack::Failed) {
            Stack::Wanted(buffer) => (buffer, true),
            Stack::Copied(bytes) => (bytes, false),
            Stack::Failed => return self.memory.read_scattered(ranges),
        };
        let within = |range: &Range<'_>| self.within(stack.len(), range.addr, range.buf.len());
        let places: Vec<_> = ranges.iter().map(within).collect();
        let mut asked = Vec::with_capacity(ranges.len() + 1);
        if is_wanted {
            let (addr, buf) = (self.start, &mut *stack);
            asked.push(Range { addr, buf });
        }
        let elsewhere = ranges.iter_mut().zip(&places);
        let elsewhere = elsewhere.filter(|(_, place)| place.is_none());
        asked.extend(elsewhere.map(|(range, _)| Range {
            addr: range.addr,
            buf: &mut *range.buf,
        }));
        let filled = self.memory.read_scattered(&mut asked);
        let Some(mut filled) = filled.checked_sub(usize::from(is_wanted)) else {
            return self.memory.read_scattered(ranges);
        };
        let mut done = 0;
        for (range, place) in ranges.iter_mut().zip(places) {
            match place.and_then(|place| stack.get(place)) {
                Some(bytes) => range.buf.copy_from_slice(bytes),
                None if filled > 0 => filled -= 1,
                None => break,
            }
            done += 1;
        }
        self.stack.replace(Stack::Copied(stack));
        done
    }
}

impl fmt::Debug for WithStack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithStack")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use firefinch_memory::Snapshot;

    use super::*;

    const STACK: RemoteAddr = RemoteAddr::new(0x7000);
    const HEAP: RemoteAddr = RemoteAddr::new(0x1000);

    /// Counts calls, as a system call each.
    struct Counted(Snapshot, Cell<usize>);

    impl Counted {
        /// What there is: 64 bytes of stack and as many elsewhere.
        fn new() -> Self {
            let mut memory = Snapshot::new();
            memory.insert(STACK, (0..64).collect());
            memory.insert(HEAP, (100..164).collect());
            Self(memory, Cell::new(0))
        }
    }

    impl Memory for Counted {
        fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
            self.1.set(self.1.get() + 1);
            self.0.read(addr, buf)
        }

        fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
            self.1.set(self.1.get() + 1);
            self.0.read_scattered(ranges)
        }
    }

    /// What could be read of pieces of 4 bytes, counted from the first.
    fn read(memory: &dyn Memory, addrs: &[RemoteAddr]) -> Vec<[u8; 4]> {
        let mut bytes = vec![[0; 4]; addrs.len()];
        let pieces = addrs.iter().zip(&mut bytes);
        let mut ranges: Vec<_> = pieces
            .map(|(addr, buf)| Range { addr: *addr, buf })
            .collect();
        let done = memory.read_scattered(&mut ranges);
        bytes.truncate(done);
        bytes
    }

    /// The stack comes with the first read, and what lies in it needs no other; what reaches beyond it is read where it is.
    #[test]
    fn one_call() {
        let memory = Counted::new();
        let mut buffer = [0; 32];
        let both = WithStack::new(&memory, STACK, &mut buffer);
        let first = read(&both, &[HEAP, STACK.offset(4), HEAP.offset(8)]);
        assert_eq!(
            first,
            [[100, 101, 102, 103], [4, 5, 6, 7], [108, 109, 110, 111]]
        );
        assert_eq!(
            both.read_u32(STACK.offset(28)),
            Ok(u32::from_le_bytes([28, 29, 30, 31]))
        );
        assert_eq!(memory.1.get(), 1);
        assert_eq!(
            read(&both, &[STACK.offset(30), STACK]),
            [[30, 31, 32, 33], [0, 1, 2, 3]]
        );
        assert_eq!(memory.1.get(), 2);
        assert!(both.finish());
        assert!(buffer.iter().copied().eq(0..32));
    }

    /// Ranges are filled up to the first that cannot be read, whether or not the others lie in the stack.
    #[test]
    fn up_to_the_first_failure() {
        let memory = Counted::new();
        let mut buffer = [0; 32];
        let both = WithStack::new(&memory, STACK, &mut buffer);
        let nowhere = RemoteAddr::new(0x9000);
        assert_eq!(read(&both, &[STACK, HEAP, nowhere, STACK]).len(), 2);
        assert_eq!(read(&both, &[STACK, nowhere, HEAP]).len(), 1);
        assert_eq!(read(&both, &[STACK.offset(u64::MAX - 1), STACK]).len(), 0);
        assert!(both.finish());
    }

    /// Without another read the stack is copied at the end; where it cannot be, everything else is read all the same.
    #[test]
    fn alone_or_not_at_all() {
        let memory = Counted::new();
        let mut buffer = [0; 32];
        assert!(WithStack::new(&memory, STACK, &mut buffer).finish());
        assert!(buffer.iter().copied().eq(0..32));
        let mut buffer = [0; 65];
        let both = WithStack::new(&memory, STACK, &mut buffer);
        assert_eq!(
            read(&both, &[HEAP, STACK.offset(1)]),
            [[100, 101, 102, 103], [1, 2, 3, 4]]
        );
        assert_eq!(both.read_u32(STACK), Ok(u32::from_le_bytes([0, 1, 2, 3])));
        assert!(!both.finish());
    }
}
