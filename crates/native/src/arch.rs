//! What the unwinder must know of a processor: one file for each.

pub mod aarch64;
pub mod x86_64;

use gimli::Vendor;

use crate::image::Stub;
use crate::registers::{Register, RegisterSet};
use crate::unwind::Rule;

/// A processor and its calling convention.
#[derive(Debug)]
pub struct Architecture {
    /// `e_machine` in ELF files.
    pub(crate) machine: u16,
    pub(crate) vendor: Vendor,
    pub(crate) stack_pointer: Register,
    pub(crate) frame_pointer: Register,
    /// The register that a call leaves the return address in, if it is not the stack.
    pub(crate) link_register: Option<Register>,
    /// The register that unwind information calls the instruction pointer.
    pub(crate) pc: Option<Register>,
    /// What a function hands back to its caller as it was, SP included.
    pub(crate) preserved: RegisterSet,
    /// The bits of a code pointer that are address.
    pub(crate) pointer_mask: u64,
    /// Recognizes the code that a signal handler returns to, by its first bytes.
    pub(crate) signal_return: fn(&[u8]) -> Option<Rule>,
    /// How long its first instruction may be.
    pub(crate) signal_return_first: &'static [u64],
    /// The rule in code that linkers make, by its kind and the offset in its section.
    pub(crate) stub: fn(Stub, u64) -> Rule,
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.machine == other.machine
    }
}
