//! What the unwinder must know of a processor: one file for each.

pub mod aarch64;
pub mod x86_64;

use gimli::Vendor;

use crate::ImageAddress;
use crate::image::{Code, Stub};
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
    /// The rule in code that linkers make, by its kind, the address, and the offset of
    /// that in its section.
    pub(crate) stub: fn(&mut Code<'_>, Stub, u64, u64) -> Rule,
    /// What a stub takes its function from, by the same.
    pub(crate) stub_target: fn(&mut Code<'_>, Stub, u64, u64) -> Option<StubTarget>,
    /// The relocation whose value is what a function of the object returns.
    pub(crate) indirect_relocation: u32,
    /// The rule at an instruction that nothing describes, by the code from
    /// there on.
    pub(crate) by_exit: fn(&mut Code<'_>, ImageAddress) -> Option<Rule>,
    /// The same by the code from the function's start, the first address.
    pub(crate) by_entry: fn(&mut Code<'_>, ImageAddress, ImageAddress) -> Option<Rule>,
    /// The distance from SP up to the frame pointer in a function that starts
    /// at the first address, at the second one.
    pub(crate) below_frame_pointer: fn(&mut Code<'_>, ImageAddress, ImageAddress) -> Option<u64>,
    /// Whether a thread or a coroutine begins at the second of these bytes
    /// although nothing is called before it.
    pub(crate) starts_here: fn(&[u8]) -> bool,
    /// The call that ends the bytes, which lie before this address.
    pub(crate) call_before: fn(&[u8], u64) -> Call,
    /// How many bytes a call has at most.
    pub(crate) longest_call: u64,
}

/// What a stub knows its function by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StubTarget {
    /// The place that its address is written to.
    Slot(ImageAddress),
    /// The number of the relocation in `.rela.plt` that fills that in.
    Numbered(u32),
}

/// What stands before an address that may be a return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// No call.
    None,
    /// A call to this address in its own object.
    To(u64),
    /// A call to where a register or memory says.
    Somewhere,
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        self.machine == other.machine
    }
}
