use std::fmt;

/// An address in the target's address space; never dereferenced here.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteAddr(u64);

impl RemoteAddr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// The address with this numeric value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The numeric value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is the null pointer.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address `offset` bytes further on, wrapping at the end of the
    /// address space: a wrapped address is merely one that cannot be read.
    #[must_use]
    pub const fn offset(self, offset: u64) -> Self {
        Self(self.0.wrapping_add(offset))
    }

    /// The distance in bytes from `base` up to this address, if it is not below it.
    pub const fn checked_sub(self, base: Self) -> Option<u64> {
        self.0.checked_sub(base.0)
    }

    /// This address with the low `bits` cleared (CPython tags references there).
    #[must_use]
    pub const fn untagged(self, bits: u32) -> Self {
        Self(self.0 & (u64::MAX << bits))
    }

    /// Whether the address is a multiple of `align`, a power of two.
    pub const fn is_aligned(self, align: u64) -> bool {
        self.0 & (align - 1) == 0
    }
}

impl fmt::Debug for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
