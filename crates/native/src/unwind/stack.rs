use std::fmt;

use firefinch_memory::RemoteAddr;

use crate::address::CodeAddress;
use crate::registers::Register;

/// One frame of a native stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it stands.
    pub address: CodeAddress,
    /// Its stack pointer. What this frame keeps on the stack lies between here
    /// and the stack pointer of its caller.
    pub sp: RemoteAddr,
    /// How it was found.
    pub via: Via,
}

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It is where the registers say: the newest frame.
    Registers,
    /// By its callee's unwind information.
    UnwindInfo,
    /// Its callee is code of a known shape: a linker's stub, or what a signal
    /// handler returns to.
    KnownCode,
    /// By the frame pointer, as its callee has no unwind information. If the
    /// callee keeps no frame pointer this may be another frame further up.
    FramePointer,
    /// By its callee's code, as it has no unwind information: it was followed
    /// to where it returns.
    Code,
    /// By a frame pointer or a return address that was not known, and was looked
    /// for on the stack.
    Searched,
}

/// How a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// At the first function of the thread.
    Rooted,
    /// Before it.
    Truncated(Truncation),
}

/// Why a stack ended too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Memory that is needed cannot be read: it is not in the copy of the stack,
    /// and not readable elsewhere.
    MemoryMissing(RemoteAddr),
    /// So much was read beyond the copy of the stack that this is not a stack.
    TooManyReads,
    /// The module at the frame's address says nothing about it, and there is
    /// no frame pointer to follow.
    NoUnwindInfo(RemoteAddr),
    /// What the module says about the frame is damaged, or not understood.
    BadUnwindInfo(RemoteAddr),
    /// A register is needed that was not given, or that was not saved.
    UnknownRegister(Register),
    /// The next frame would be no higher up the stack.
    CfaDidNotGrow,
    /// Execution would go on where no code is.
    NotCode(RemoteAddr),
    /// There are more frames than asked for.
    TooDeep,
}

/// What came of unwinding a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the stack ended.
    pub status: Status,
    /// How many frames were found by frame pointer.
    pub by_frame_pointer: u32,
    /// How many were found by their callee's code.
    pub by_code: u32,
    /// How many were looked for on the stack.
    pub by_search: u32,
    /// How often memory beyond the copy of the stack was read.
    pub outside_reads: u32,
}

impl Outcome {
    /// Whether every frame to the root was found by what its callee says.
    pub fn is_certain(&self) -> bool {
        let inferred = self.by_frame_pointer + self.by_code + self.by_search;
        self.status == Status::Rooted && inferred == 0
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemoryMissing(addr) => write!(f, "no memory at {addr}"),
            Self::TooManyReads => f.write_str("too many reads beyond the stack's copy"),
            Self::NoUnwindInfo(addr) => write!(f, "no unwind information for {addr}"),
            Self::BadUnwindInfo(addr) => write!(f, "damaged unwind information for {addr}"),
            Self::UnknownRegister(register) => write!(f, "register {register:?} is not known"),
            Self::CfaDidNotGrow => f.write_str("the next frame is not above this one"),
            Self::NotCode(addr) => write!(f, "no code at {addr}"),
            Self::TooDeep => f.write_str("too many frames"),
        }
    }
}
