//! What evaluation loops keep on the C stack: `CFrame` in 3.10, `_PyCFrame` in
//! 3.11 (`Include/cpython/pystate.h`), one for each loop, linked from the
//! thread state. The oldest lies in the thread state itself and belongs to no
//! loop; what it names as the one before was never set in 3.10
//! (`new_threadstate`, `Python/pystate.c`).
//!
//! 3.12 has them as well, but there frames lead to their loops by themselves.

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use super::Steps;
use super::data_stack::Look;
use crate::layout::{Field, Layout};

/// Reads threads' chains of them.
#[derive(Debug)]
pub(super) struct CFrames {
    newest: usize,
    /// The size of the thread state, in which the oldest lies.
    pub(super) thread_size: usize,
    previous: usize,
    current_frame: Option<usize>,
    span: usize,
    /// Where those of each thread were last time.
    known: HashMap<RemoteAddr, Vec<RemoteAddr>>,
    chain: Vec<CFrame>,
    look: Look,
    plan: Vec<(RemoteAddr, usize)>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CFrame {
    pub(super) addr: RemoteAddr,
    /// The newest Python frame of its loop, in 3.11; null if there is none.
    pub(super) current_frame: RemoteAddr,
    previous: RemoteAddr,
}

#[cfg(test)]
impl CFrame {
    pub(super) fn new(addr: RemoteAddr, current_frame: RemoteAddr) -> Self {
        Self {
            addr,
            current_frame,
            previous: RemoteAddr::NULL,
        }
    }
}

/// Threads remembered before starting anew.
const MAX_THREADS: usize = 1 << 12;
/// Copied ahead at most; what follows is read one by one.
const MAX_COPIED: usize = 1 << 15;
/// What lies closer together is copied in one piece, which costs less than two
/// up to some kilobytes.
const NEAR: u64 = 4096;

impl CFrames {
    /// `None` where frames lead to their loops, or nothing does.
    pub(super) fn new(layout: &Layout) -> Option<Self> {
        if layout.get(Field::OwnerCstack).is_some() {
            return None;
        }
        let previous = layout.get(Field::CframePrevious)?;
        let current_frame = layout.get(Field::CframeCurrentFrame);
        Some(Self {
            newest: layout.get(Field::TstateCframe)?,
            thread_size: layout.get(Field::TstateSize)?,
            previous,
            current_frame,
            span: previous.max(current_frame.unwrap_or(0)) + 8,
            known: HashMap::new(),
            chain: Vec::new(),
            look: Look::default(),
            plan: Vec::new(),
        })
    }

    /// The chain of `thread`, newest first, to the one that belongs to no loop;
    /// `None` if it does not lead there, as it may not in a thread that runs on.
    /// Of one that stands still, what is `seen` already is not read again.
    pub(super) fn read(
        &mut self,
        memory: &dyn Memory,
        thread: RemoteAddr,
        seen: Option<&Look>,
    ) -> Option<&[CFrame]> {
        if self.known.len() >= MAX_THREADS {
            self.known.clear();
        }
        let known = self.known.entry(thread).or_default();
        let head = thread.offset(self.newest as u64);
        let seen = |addr, len| seen.and_then(|look| look.slice(addr, len));
        let newest = seen(head, 8);
        self.plan.clear();
        if newest.is_none() {
            self.plan.push((head, 8));
        }
        for addr in known
            .iter()
            .filter(|addr| seen(**addr, self.span).is_none())
        {
            cover(&mut self.plan, *addr, self.span);
        }
        self.look.take(memory, &self.plan);
        self.chain.clear();
        let newest = newest.or_else(|| self.look.slice(head, 8));
        let mut addr = Bytes(newest?).ptr(0)?;
        let mut steps = Steps::default();
        let mut own = vec![0; self.span];
        let mut is_oldest = false;
        while !is_oldest {
            steps.count(addr).ok()?;
            // What leads to the thread state itself is not one of them: what was
            // there has ended, and a pointer to the interpreter's state, say, lies
            // there now, which names its newest thread where they name the next.
            if addr == thread {
                return None;
            }
            let copied = seen(addr, self.span).or_else(|| self.look.slice(addr, self.span));
            let bytes = match copied {
                Some(bytes) => bytes,
                None => {
                    memory.read(addr, &mut own).ok()?;
                    &own
                }
            };
            let view = Bytes(bytes);
            let current_frame = self.current_frame.map(|offset| view.ptr(offset));
            let c_frame = CFrame {
                addr,
                current_frame: current_frame.flatten().unwrap_or_default(),
                previous: view.ptr(self.previous)?,
            };
            self.chain.push(c_frame);
            let inside = addr.checked_sub(thread);
            is_oldest = inside.is_some_and(|inside| inside < self.thread_size as u64);
            addr = c_frame.previous;
        }
        known.clear();
        known.extend(self.chain.iter().take(MAX_COPIED).map(|c| c.addr));
        Some(&self.chain)
    }
}

/// Plans to copy what is at `addr`, too.
fn cover(plan: &mut Vec<(RemoteAddr, usize)>, addr: RemoteAddr, span: usize) {
    if let Some((start, len)) = plan.last_mut()
        && let Some(skip) = addr.checked_sub(*start)
        && skip < *len as u64 + NEAR
        && let Ok(skip) = usize::try_from(skip)
    {
        *len = (*len).max(skip + span);
        return;
    }
    plan.push((addr, span));
}

#[cfg(test)]
mod tests {
    use super::*;
    use firefinch_memory::Snapshot;

    const THREAD: RemoteAddr = RemoteAddr::new(0x10_0000);
    const STACK: u64 = 0x7f00_0000;

    fn reader() -> CFrames {
        CFrames {
            newest: 56,
            thread_size: 0x100,
            previous: 16,
            current_frame: Some(8),
            span: 24,
            known: HashMap::new(),
            chain: Vec::new(),
            look: Look::default(),
            plan: Vec::new(),
        }
    }

    /// A thread whose loops keep theirs at these offsets in its stack.
    fn thread(offsets: &[u64]) -> Snapshot {
        let mut stack = vec![0; 0x8000];
        let root = THREAD.get() + 0x80;
        let addrs: Vec<u64> = offsets.iter().map(|offset| STACK + offset).collect();
        let older = addrs.iter().skip(1).chain([&root]);
        for (offset, older) in offsets
            .iter()
            .zip(older)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let at = usize::try_from(*offset).unwrap();
            stack[at + 8..at + 16].copy_from_slice(&(offset + 1).to_le_bytes());
            stack[at + 16..at + 24].copy_from_slice(&older.to_le_bytes());
        }
        let mut state = vec![0; 0x100];
        let newest = addrs.first().unwrap_or(&root);
        state[56..64].copy_from_slice(&newest.to_le_bytes());
        // What the last names is not to be followed.
        state[0x90..0x98].copy_from_slice(&0xbad_u64.to_le_bytes());
        let mut memory = Snapshot::new();
        memory.insert(THREAD, state);
        memory.insert(RemoteAddr::new(STACK), stack);
        memory
    }

    fn offsets(reader: &mut CFrames, memory: &Snapshot) -> Option<Vec<u64>> {
        let (oldest, chain) = reader.read(memory, THREAD, None)?.split_last()?;
        assert_eq!(oldest.addr, THREAD.offset(0x80));
        let offset = |c_frame: &CFrame| {
            let offset = c_frame.addr.get() - STACK;
            assert_eq!(c_frame.current_frame.get(), offset + 1);
            offset
        };
        Some(chain.iter().map(offset).collect())
    }

    /// The chain is followed to the one in the thread state, wherever it was last time.
    #[test]
    fn chains() {
        let mut reader = reader();
        let near = [0x100, 0x180, 0x7000];
        for chain in [
            &near[..],
            &near[1..],
            &[],
            &near,
            &[0x40, 0x300, 0x180, 0x20],
        ] {
            let memory = thread(chain);
            for _ in 0..2 {
                assert_eq!(offsets(&mut reader, &memory).as_deref(), Some(chain));
            }
        }
    }

    /// A chain that ends elsewhere, or never, is none.
    #[test]
    fn broken_chains() {
        let mut reader = reader();
        let endless = thread(&[0x100, 0x180, 0x100]);
        assert_eq!(offsets(&mut reader, &endless), None);
        let mut nowhere = Snapshot::new();
        assert_eq!(offsets(&mut reader, &nowhere), None);
        nowhere.insert(THREAD, vec![0; 0x100]);
        assert_eq!(offsets(&mut reader, &nowhere), None);
        assert_eq!(offsets(&mut reader, &thread(&[0x100])), Some(vec![0x100]));
        let mut stale = thread(&[0x100]);
        stale.insert(
            RemoteAddr::new(STACK + 0x110),
            THREAD.get().to_le_bytes().to_vec(),
        );
        assert_eq!(offsets(&mut reader, &stale), None);
    }
}
