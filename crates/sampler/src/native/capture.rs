use std::fmt;
use std::sync::Arc;

use firefinch_memory::{Memory, ReadError, RemoteAddr};
use firefinch_native::{InstructionPointer, Registers, StackCopy};
use firefinch_process::{Syscall, Tid};

use super::areas::{Area, Areas};
use super::machine;
use super::with_stack::WithStack;

/// The registers of a thread, and its stack from SP up as far as is needed:
/// a copy of one moment, if the thread stood still for it.
///
/// Owns its memory, so it can be filled on another thread and handed back.
#[derive(Debug)]
pub struct Capture {
    tid: Tid,
    areas: Arc<Areas>,
    expected: Option<Expected>,
    /// The most to copy.
    limit: u64,
    content: Option<Content>,
    /// At least as long as the copy.
    buffer: Vec<u8>,
}

/// How far up a thread's stack was in use when it was last unwound: to the
/// root, or if that was not in the copy, beyond it. All stacks of a thread end
/// at the same address, unless it switches between stacks: then they lie in
/// other areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The end of the area.
    pub(super) area_end: RemoteAddr,
    /// Nothing from here on was needed.
    pub(super) end: RemoteAddr,
    /// A root was found there.
    pub(super) is_root: bool,
}

impl Expected {
    /// What is expected after one more stack of the thread. A root below the one
    /// that is known is not believed: while a C++ exception is handed to who catches
    /// it, return addresses are not those of the frames that they lie in, and the
    /// stack seems to end anywhere.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.is_root && before.area_end == self.area_end => Self {
                end: self.end.max(before.end),
                ..self
            },
            _ => self,
        }
    }
}

/// What a capture holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) pc: InstructionPointer,
    pub(super) registers: Registers,
    pub(super) start: RemoteAddr,
    pub(super) len: usize,
    /// The area of the stack; `None` if it is new.
    pub(super) area: Option<Area>,
}

/// Why a thread could not be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// The registers are not those of a 64-bit program.
    Registers,
    /// The stack cannot be read.
    Stack(ReadError),
    /// The kernel does not say where the thread stands.
    NoPosition,
}

/// The most that is copied of a stack of which it is not known how much is in
/// use. That takes some 18 µs, for which a running thread stands still.
const MAX_UNKNOWN: u64 = 256 << 10;

/// The most that is copied of any. Of a recursion through C that was not found
/// to its root before, and of a thread that waits, more than the above may be
/// wanted: 60 calls of `sorted` in each other have 262 KB, and the OpenBLAS of
/// NumPy 2.4 keeps 512 KB for each level of its factorization of a matrix, of which
/// 300 by 300 numbers have four.
pub(super) const MAX_COPY: u64 = 4 << 20;

/// What a function may use below SP without moving it: 128 bytes in the System
/// V ABI of x86_64 (3.2.2). Unwind information may refer to it.
const RED_ZONE: u64 = 128;

/// Further below what is in use is not taken for the same stack.
const MAX_UNUSED: u64 = 1 << 20;

const PAGE: u64 = 4096;

impl Capture {
    pub(super) fn new(
        tid: Tid,
        areas: &Arc<Areas>,
        expected: Option<Expected>,
        buffer: Vec<u8>,
    ) -> Self {
        Self {
            tid,
            areas: Arc::clone(areas),
            limit: MAX_UNKNOWN,
            expected,
            content: None,
            buffer,
        }
    }

    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        let tid = Tid::new(1).expect("positive");
        Self::new(tid, &Arc::default(), None, Vec::new())
    }

    /// These bytes of a stack, of which the area begins before them.
    #[cfg(test)]
    pub(crate) fn holding(before: u64, start: RemoteAddr, bytes: &[u8]) -> Self {
        let begin = RemoteAddr::new(start.get() - before);
        let area = Area::fixed(begin, start.offset(bytes.len() as u64));
        let content = Content {
            pc: InstructionPointer::new(RemoteAddr::NULL),
            registers: Registers::new(),
            start,
            len: bytes.len(),
            area: Some(area),
        };
        Self {
            content: Some(content),
            buffer: bytes.to_vec(),
            ..Self::empty()
        }
    }

    /// Whose it is.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// The stack pointer; `None` of an empty capture.
    pub fn sp(&self) -> Option<RemoteAddr> {
        let sp = self.content?.registers.get(machine::SP);
        sp.map(RemoteAddr::new)
    }

    /// Fills it with a thread that stands still for as long as this takes.
    /// `prstatus` is what `PTRACE_GETREGSET` with `NT_PRSTATUS` gave.
    ///
    /// # Errors
    /// [`CaptureError`]; the capture is empty then.
    pub fn fill_stopped(
        &mut self,
        prstatus: &[u8],
        memory: &dyn Memory,
    ) -> Result<(), CaptureError> {
        self.fill_stopped_with(prstatus, memory, |_| ()).0
    }

    /// The same, and `also` reads what belongs to the same moment, from the memory
    /// that it is given: where the end of the stack is known, the stack is copied by
    /// the first call that is made for that.
    pub fn fill_stopped_with<T>(
        &mut self,
        prstatus: &[u8],
        memory: &dyn Memory,
        also: impl FnOnce(&dyn Memory) -> T,
    ) -> (Result<(), CaptureError>, T) {
        self.content = None;
        self.limit = MAX_UNKNOWN;
        match machine::of_prstatus(prstatus) {
            Some((pc, registers)) => self.fill(pc, &registers, memory, also),
            None => (Err(CaptureError::Registers), also(memory)),
        }
    }

    /// Fills it with a thread that waits in a system call. Whether it still
    /// did afterwards is for the caller to find out:
    /// [`Native::capture_blocked`](super::Native::capture_blocked) does.
    ///
    /// # Errors
    /// [`CaptureError`]; the capture is empty then.
    pub fn fill_blocked(
        &mut self,
        syscall: &Syscall,
        memory: &dyn Memory,
    ) -> Result<(), CaptureError> {
        self.content = None;
        if syscall.sp.is_null() || syscall.pc.is_null() {
            return Err(CaptureError::NoPosition);
        }
        self.limit = MAX_COPY;
        let registers = machine::of_syscall(syscall);
        self.fill(syscall.pc, &registers, memory, |_| ()).0
    }

    fn fill<T>(
        &mut self,
        pc: RemoteAddr,
        registers: &Registers,
        memory: &dyn Memory,
        also: impl FnOnce(&dyn Memory) -> T,
    ) -> (Result<(), CaptureError>, T) {
        let Some(sp) = registers.get(machine::SP).map(RemoteAddr::new) else {
            return (Err(CaptureError::NoPosition), also(memory));
        };
        let start = RemoteAddr::new(sp.get().saturating_sub(RED_ZONE) & !7);
        let area = self.areas.find(sp);
        let (copied, also) = match area {
            Some(area) => {
                let start = start.max(area.lowest());
                self.copy_area(start, sp, area, memory, also)
            }
            None => (self.copy_pages(start, sp, memory), also(memory)),
        };
        let copied = copied.map_err(CaptureError::Stack);
        let filled = copied.map(|(start, len)| {
            self.content = Some(Content {
                pc: InstructionPointer::new(pc),
                registers: *registers,
                start,
                len,
                area,
            });
        });
        (filled, also)
    }

    /// Copies from `start` as far as was needed last time, or to the end of the area.
    fn copy_area<T>(
        &mut self,
        start: RemoteAddr,
        sp: RemoteAddr,
        area: Area,
        memory: &dyn Memory,
        also: impl FnOnce(&dyn Memory) -> T,
    ) -> (Result<(RemoteAddr, usize), ReadError>, T) {
        let known = self.expected.filter(|e| e.area_end == area.end);
        if known.is_some() {
            self.limit = MAX_COPY;
        }
        let end = known.map_or(area.end, |expected| expected.end);
        let most = area.end.get().saturating_sub(start.get());
        let wanted = end
            .checked_sub(sp.max(start))
            .map(|_| end.get() - start.get());
        let len = wanted.unwrap_or(most).min(most).min(self.limit);
        let (len, buffer) = self.room(0, len);
        let both = WithStack::new(memory, start, buffer);
        let also = also(&both);
        let copied = match both.finish() {
            true => Ok((start, len)),
            // The area has become smaller.
            false => self.copy_pages(start, sp, memory),
        };
        (copied, also)
    }

    /// Copies page after page, while there are some: the area is new.
    fn copy_pages(
        &mut self,
        start: RemoteAddr,
        sp: RemoteAddr,
        memory: &dyn Memory,
    ) -> Result<(RemoteAddr, usize), ReadError> {
        // What is below the page of SP may not be there.
        let page = RemoteAddr::new(sp.get() & !(PAGE - 1));
        let start = start.max(page);
        let first = page.offset(PAGE).get().wrapping_sub(start.get());
        let mut len = self.copy(start, 0, first, memory)?;
        let (mut step, mut growing) = (PAGE, true);
        while (len as u64) < self.limit && step >= PAGE {
            match self.copy(start, len, step, memory) {
                Ok(more) => len = more,
                Err(_) => growing = false,
            }
            step = if growing { step * 2 } else { step / 2 };
        }
        Ok((start, len))
    }

    /// Copies `len` bytes behind those that are there; how many there are then.
    fn copy(
        &mut self,
        start: RemoteAddr,
        there: usize,
        len: u64,
        memory: &dyn Memory,
    ) -> Result<usize, ReadError> {
        let (end, buffer) = self.room(there, len);
        memory.read(start.offset(there as u64), buffer)?;
        Ok(end)
    }

    /// Room for `len` bytes more behind those that are there, and how many there are
    /// then.
    fn room(&mut self, there: usize, len: u64) -> (usize, &mut [u8]) {
        let end = there.saturating_add(usize::try_from(len.min(MAX_COPY)).unwrap_or(0));
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        (end, self.buffer.get_mut(there..end).unwrap_or_default())
    }

    /// The bytes of the stack at `addr`, if so many are copied.
    pub(crate) fn copied(&self, addr: RemoteAddr, len: usize) -> Option<&[u8]> {
        let (_, copy) = self.content()?;
        let skip = usize::try_from(addr.checked_sub(copy.start)?).ok()?;
        copy.bytes.get(skip..skip.checked_add(len)?)
    }

    /// How many of so many bytes at `addr` lie below what the thread has in use of its
    /// stack, if the others are copied: what was there when more was in use leads nowhere.
    pub(crate) fn unused(&self, addr: RemoteAddr, len: usize) -> Option<usize> {
        let (content, copy) = self.content()?;
        let below = copy.start.checked_sub(addr).filter(|below| *below > 0)?;
        let area = content.area?;
        let is_stack = below < MAX_UNUSED && addr >= area.lowest();
        let unused = usize::try_from(below).ok()?.min(len);
        let rest = self.copied(copy.start, len - unused);
        (is_stack && rest.is_some()).then_some(unused)
    }

    pub(super) fn content(&self) -> Option<(&Content, StackCopy<'_>)> {
        let content = self.content.as_ref()?;
        let copy = StackCopy {
            start: content.start,
            bytes: self.buffer.get(..content.len)?,
        };
        Some((content, copy))
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registers => f.write_str("not the registers of a 64-bit program"),
            Self::Stack(error) => write!(f, "the stack: {error}"),
            Self::NoPosition => f.write_str("the kernel does not say where the thread stands"),
        }
    }
}

impl std::error::Error for CaptureError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is copied of a stack is found, and how much of a piece lies below that in the same area, if the rest is copied.
    #[test]
    fn copied_and_below() {
        let at = RemoteAddr::new;
        let bytes: Vec<u8> = (0..64).collect();
        let capture = Capture::holding(0x100, at(0x7100), &bytes);
        assert_eq!(capture.copied(at(0x7108), 4), Some(&[8, 9, 10, 11][..]));
        assert_eq!(capture.copied(at(0x7100), 64), Some(&bytes[..]));
        for (addr, len) in [(0x70ff, 2), (0x713f, 2), (0x7140, 1), (0x7000, 8)] {
            assert_eq!(capture.copied(at(addr), len), None, "{addr:#x}");
        }
        for (addr, len, expected) in [
            (0x7000, 16, Some(16)),
            (0x70f0, 16, Some(16)),
            (0x70f0, 24, Some(16)),
            (0x70f0, 80, Some(16)),
            (0x70f0, 81, None),
            (0x6ff0, 16, None),
            (0x7100, 8, None),
            (0x7140, 8, None),
        ] {
            assert_eq!(capture.unused(at(addr), len), expected, "{addr:#x} {len}");
        }
        assert_eq!(Capture::empty().unused(at(0x7000), 8), None);
    }

    /// A thread's stack ends at the highest root seen in its area, and where none was, at the area's end until there is one.
    #[test]
    fn highest_root() {
        let (area, other) = (0x9000, 0x5000);
        let mut known = None;
        for (area, end, is_root, expected) in [
            (area, 0x4000, true, 0x4000),
            (area, 0x6000, true, 0x6000),
            (area, 0x3000, true, 0x6000),
            (area, 0x9000, false, 0x9000),
            (area, 0x4000, true, 0x4000),
            (other, 0x2000, true, 0x2000),
            (area, 0x3000, true, 0x3000),
        ] {
            let now = Expected {
                area_end: RemoteAddr::new(area),
                end: RemoteAddr::new(end),
                is_root,
            };
            let now = now.after(known);
            assert_eq!(now.end, RemoteAddr::new(expected), "{end:#x}");
            known = Some(now);
        }
    }
}
