use std::fmt;

use firefinch_memory::{Memory, ReadError, RemoteAddr};
use firefinch_native::{InstructionPointer, Registers};
use firefinch_process::{Syscall, Tid};

/// The registers of a thread, and its stack from SP up as far as is needed:
/// a copy of one moment, if the thread stood still for it.
///
/// Owns its memory, so it can be filled on another thread and handed back.
#[derive(Debug)]
#[allow(dead_code)]
pub struct Capture {
    tid: Tid,
    pub(super) pc: Option<InstructionPointer>,
    pub(super) registers: Registers,
    pub(super) start: RemoteAddr,
    pub(super) bytes: Vec<u8>,
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

impl Capture {
    pub(super) fn new(tid: Tid) -> Self {
        Self {
            tid,
            pc: None,
            registers: Registers::new(),
            start: RemoteAddr::NULL,
            bytes: Vec::new(),
        }
    }

    /// Whose it is.
    pub fn tid(&self) -> Tid {
        self.tid
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
        let _ = (prstatus, memory);
        Err(CaptureError::Registers)
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
        let _ = (syscall, memory);
        Err(CaptureError::NoPosition)
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
