use crate::{ReadError, ReadErrorKind, RemoteAddr};

/// One range of a scattered read.
#[derive(Debug)]
pub struct Range<'a> {
    /// Where the range starts in the target.
    pub addr: RemoteAddr,
    /// Where its bytes go; its length is the range's length.
    pub buf: &'a mut [u8],
}

/// The memory of a target, live or recorded.
///
/// `&mut self` is not needed anywhere: implementations keep counters in cells.
pub trait Memory {
    /// Fills `buf` from `addr`, wholly or not at all.
    ///
    /// # Errors
    /// [`ReadError`] if any byte of the range cannot be read.
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError>;

    /// Reads several ranges with as few system calls as the implementation can.
    /// Returns how many leading ranges were filled; the rest is unspecified.
    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        let mut done = 0;
        for range in ranges.iter_mut() {
            if self.read(range.addr, range.buf).is_err() {
                break;
            }
            done += 1;
        }
        done
    }

    /// Reads a little-endian u64.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u64(&self, addr: RemoteAddr) -> Result<u64, ReadError> {
        let mut buf = [0; 8];
        self.read(addr, &mut buf)?;
        Ok(u64::from_le_bytes(buf))
    }

    /// Reads a little-endian u32.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_u32(&self, addr: RemoteAddr) -> Result<u32, ReadError> {
        let mut buf = [0; 4];
        self.read(addr, &mut buf)?;
        Ok(u32::from_le_bytes(buf))
    }

    /// Reads a pointer.
    ///
    /// # Errors
    /// As [`Memory::read`].
    fn read_ptr(&self, addr: RemoteAddr) -> Result<RemoteAddr, ReadError> {
        self.read_u64(addr).map(RemoteAddr::new)
    }

    /// Reads `len` bytes into a new vector, refusing more than `limit`: the
    /// length usually comes from the target and is not to be believed.
    ///
    /// # Errors
    /// [`ReadErrorKind::TooLong`] above `limit`, else as [`Memory::read`].
    fn read_vec(&self, addr: RemoteAddr, len: u64, limit: usize) -> Result<Vec<u8>, ReadError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > limit {
            let kind = ReadErrorKind::TooLong;
            return Err(ReadError { addr, len, kind });
        }
        let mut buf = vec![0; len];
        self.read(addr, &mut buf)?;
        Ok(buf)
    }
}

impl<M: Memory + ?Sized> Memory for &M {
    fn read(&self, addr: RemoteAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        (**self).read(addr, buf)
    }

    fn read_scattered(&self, ranges: &mut [Range<'_>]) -> usize {
        (**self).read_scattered(ranges)
    }
}

/// Bytes already copied from the target, with checked typed access at an
/// offset: `None` where the copy ends, never a panic.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// `len` bytes at `offset`.
    pub fn slice(self, offset: usize, len: usize) -> Option<&'a [u8]> {
        self.0.get(offset..offset.checked_add(len)?)
    }

    fn array<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        self.slice(offset, N)?.try_into().ok()
    }

    /// The byte at `offset`.
    pub fn u8(self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }

    /// The little-endian u16 at `offset`.
    pub fn u16(self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }

    /// The little-endian u32 at `offset`.
    pub fn u32(self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }

    /// The little-endian i32 at `offset`.
    pub fn i32(self, offset: usize) -> Option<i32> {
        self.array(offset).map(i32::from_le_bytes)
    }

    /// The little-endian u64 at `offset`.
    pub fn u64(self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }

    /// The pointer at `offset`.
    pub fn ptr(self, offset: usize) -> Option<RemoteAddr> {
        self.u64(offset).map(RemoteAddr::new)
    }
}
