use firefinch_memory::{Memory, ReadError, ReadErrorKind, RemoteAddr};

use super::capture::Content;

/// The target's memory without the stack that was captured: the thread may run
/// again, and what is on its stack now is of another moment.
pub(super) struct OffStack<'a> {
    memory: &'a dyn Memory,
    start: RemoteAddr,
    end: RemoteAddr,
}

impl<'a> OffStack<'a> {
    pub(super) fn new(memory: &'a dyn Memory, content: &Content) -> Self {
        let copied = content.start.offset(content.len as u64);
        Self {
            memory,
            start: content.start,
            end: content.area.map_or(copied, |area| area.end.max(copied)),
        }
    }
}

impl Memory for OffStack<'_> {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len();
        let end = addr.offset(len as u64);
        if addr < self.end && end > self.start {
            let kind = ReadErrorKind::Unmapped;
            return Err(ReadError { addr, len, kind });
        }
        self.memory.read(addr, buf)
    }
}
