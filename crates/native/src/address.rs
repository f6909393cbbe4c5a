use std::fmt;

use firefinch_memory::RemoteAddr;

/// The address of the instruction that a thread executes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstructionPointer(RemoteAddr);

/// The address of the instruction after a call, where execution goes on once
/// the callee returns.
///
/// It need not belong to the calling function: a call that never returns can
/// be its last instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReturnAddress(RemoteAddr);

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeAddress {
    /// The instruction has not been executed: the newest frame, one
    /// interrupted by a signal, or what a signal handler returns to.
    Instruction(InstructionPointer),
    /// The frame waits for a call to return.
    Return(ReturnAddress),
}

/// A virtual address inside one object file, as its own headers and sections
/// state it: the same in every process and every run.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageAddress(u64);

impl InstructionPointer {
    /// The instruction pointer with this address.
    pub const fn new(addr: RemoteAddr) -> Self {
        Self(addr)
    }

    /// The address.
    pub const fn addr(self) -> RemoteAddr {
        self.0
    }
}

impl ReturnAddress {
    /// The return address, unless it is null, which no call leaves behind.
    pub const fn new(addr: RemoteAddr) -> Option<Self> {
        if addr.is_null() {
            None
        } else {
            Some(Self(addr))
        }
    }

    /// The address.
    pub const fn addr(self) -> RemoteAddr {
        self.0
    }
}

impl CodeAddress {
    /// The address as it stood in a register or on the stack.
    pub const fn addr(self) -> RemoteAddr {
        match self {
            Self::Instruction(ip) => ip.addr(),
            Self::Return(ra) => ra.addr(),
        }
    }

    /// An address inside the instruction that the frame stands at: for a
    /// return address a byte of the call before it. Whatever describes code
    /// (unwind information, functions, lines) is looked up by this.
    pub const fn lookup(self) -> RemoteAddr {
        match self {
            Self::Instruction(ip) => ip.addr(),
            Self::Return(ra) => RemoteAddr::new(ra.addr().get().wrapping_sub(1)),
        }
    }
}

impl ImageAddress {
    /// The address with this numeric value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The numeric value.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ImageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for ImageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
