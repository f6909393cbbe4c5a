use firefinch_memory::{Bytes, Memory, RemoteAddr};

use super::Truncation;

/// Stack memory copied from the target: the bytes from an address on, usually
/// the newest frame's stack pointer.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    /// Where the copy starts.
    pub start: RemoteAddr,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What is read at once beyond the copy. Frames lie side by side, so one read
/// serves many; and a read of 4 KB costs hardly more than one of 8 bytes.
const BLOCK: usize = 4096;

/// The last block read beyond the copy; kept between stacks for its memory,
/// not for what is in it.
#[derive(Debug)]
pub(super) struct Block {
    start: RemoteAddr,
    bytes: Box<[u8; BLOCK]>,
    valid: bool,
}

/// The target's memory, as one unwinding sees it: the copy, and what is read
/// beyond it, counted and limited.
pub(super) struct StackMemory<'a> {
    copy: StackCopy<'a>,
    outside: &'a dyn Memory,
    block: &'a mut Block,
    reads: u32,
    limit: u32,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            start: RemoteAddr::NULL,
            bytes: Box::new([0; BLOCK]),
            valid: false,
        }
    }
}

impl<'a> StackMemory<'a> {
    pub(super) fn new(
        copy: StackCopy<'a>,
        outside: &'a dyn Memory,
        block: &'a mut Block,
        limit: u32,
    ) -> Self {
        block.valid = false;
        Self {
            copy,
            outside,
            block,
            reads: 0,
            limit,
        }
    }

    /// How often memory beyond the copy was read.
    pub(super) fn reads(&self) -> u32 {
        self.reads
    }

    #[inline]
    pub(super) fn u64(&mut self, addr: RemoteAddr) -> Result<u64, Truncation> {
        let offset = addr.get().wrapping_sub(self.copy.start.get());
        let copied = usize::try_from(offset)
            .ok()
            .and_then(|offset| Bytes(self.copy.bytes).u64(offset));
        match copied {
            Some(value) => Ok(value),
            None => self.array(addr).map(u64::from_le_bytes),
        }
    }

    /// The little-endian integer of 1 to 8 bytes at an address.
    pub(super) fn uint(&mut self, addr: RemoteAddr, size: u8) -> Result<u64, Truncation> {
        let missing = Truncation::MemoryMissing(addr);
        let size = usize::from(size);
        let offset = usize::try_from(addr.get().wrapping_sub(self.copy.start.get()));
        let copied = offset
            .ok()
            .and_then(|o| Bytes(self.copy.bytes).slice(o, size));
        let mut out = [0; 8];
        let target = out.get_mut(..size).ok_or(missing)?;
        match copied {
            Some(bytes) => target.copy_from_slice(bytes),
            None => self.outside(addr, target)?,
        }
        Ok(u64::from_le_bytes(out))
    }

    #[cold]
    fn array<const N: usize>(&mut self, addr: RemoteAddr) -> Result<[u8; N], Truncation> {
        let mut out = [0; N];
        self.outside(addr, &mut out)?;
        Ok(out)
    }

    fn outside(&mut self, addr: RemoteAddr, out: &mut [u8]) -> Result<(), Truncation> {
        if self.held(addr, out) {
            return Ok(());
        }
        let start = RemoteAddr::new(addr.get() & !(BLOCK as u64 - 1));
        self.count()?;
        self.block.valid = self.outside.read(start, &mut self.block.bytes[..]).is_ok();
        self.block.start = start;
        if self.held(addr, out) {
            return Ok(());
        }
        // A value across two blocks, or a memory that holds less than a block.
        self.count()?;
        let missing = |_| Truncation::MemoryMissing(addr);
        self.outside.read(addr, out).map_err(missing)
    }

    fn held(&self, addr: RemoteAddr, out: &mut [u8]) -> bool {
        let offset = addr.checked_sub(self.block.start);
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        let bytes = offset.and_then(|o| Bytes(&self.block.bytes[..]).slice(o, out.len()));
        match bytes {
            Some(bytes) if self.block.valid => {
                out.copy_from_slice(bytes);
                true
            }
            _ => false,
        }
    }

    fn count(&mut self) -> Result<(), Truncation> {
        if self.reads >= self.limit {
            return Err(Truncation::TooManyReads);
        }
        self.reads += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use firefinch_memory::Snapshot;

    use super::*;

    fn at(addr: u64) -> RemoteAddr {
        RemoteAddr::new(addr)
    }

    /// What is in the copy costs no read; beyond it one read serves its surroundings; what is nowhere is an error, and reads are limited.
    #[test]
    fn copy_then_blocks_then_nothing() {
        let mut snapshot = Snapshot::new();
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * BLOCK).collect();
        snapshot.insert(at(0x10000), bytes.clone());
        snapshot.insert(at(0x20ff8), vec![9; 8]);
        let copy = StackCopy {
            start: at(0x10000),
            bytes: &bytes[..16],
        };
        let mut block = Block::new();
        let mut memory = StackMemory::new(copy, &snapshot, &mut block, 5);
        assert_eq!(memory.u64(at(0x10008)), Ok(0x0f0e_0d0c_0b0a_0908));
        assert_eq!(memory.uint(at(0x1000f), 1), Ok(0x0f));
        assert_eq!(memory.reads(), 0);
        assert_eq!(memory.u64(at(0x1000c)), Ok(0x1312_1110_0f0e_0d0c));
        assert_eq!(memory.u64(at(0x10ff8)), Ok(0xfffe_fdfc_fbfa_f9f8));
        assert_eq!(memory.reads(), 1);
        assert_eq!(memory.u64(at(0x10ffc)), Ok(0x0302_0100_fffe_fdfc));
        assert_eq!(memory.reads(), 3);
        assert_eq!(memory.uint(at(0x20ff8), 4), Ok(0x0909_0909));
        assert_eq!(memory.reads(), 5);
        assert_eq!(memory.u64(at(0x30000)), Err(Truncation::TooManyReads));
        let mut memory = StackMemory::new(copy, &snapshot, &mut block, 5);
        let missing = Truncation::MemoryMissing(at(0x30000));
        assert_eq!(memory.u64(at(0x30000)), Err(missing));
        assert_eq!(
            memory.uint(at(0xffff), 2),
            Err(Truncation::MemoryMissing(at(0xffff)))
        );
    }
}
