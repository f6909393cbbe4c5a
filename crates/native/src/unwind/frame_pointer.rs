use firefinch_memory::RemoteAddr;

use super::Truncation;
use super::rule::Caller;
use super::stack_memory::StackMemory;
use crate::arch::Architecture;
use crate::registers::Registers;

/// Finds the caller by the frame record: on both architectures the frame
/// pointer points to the caller's, and behind that lies the return address.
///
/// `None` where there is no record to believe.
pub(super) fn follow(
    arch: &Architecture,
    registers: &mut Registers,
    memory: &mut StackMemory<'_>,
) -> Result<Caller, NoRecord> {
    let fp = registers.get(arch.frame_pointer).ok_or(NoRecord::Unknown)?;
    let sp = registers.get(arch.stack_pointer).ok_or(NoRecord::Unknown)?;
    if fp == 0 {
        // Both ABIs end the chain so.
        return Ok(None);
    }
    if fp < sp || fp % 8 != 0 {
        return Err(NoRecord::Implausible);
    }
    let record = RemoteAddr::new(fp);
    let caller_fp = memory.u64(record).map_err(NoRecord::Unreadable)?;
    let pc = memory.u64(record.offset(8)).map_err(NoRecord::Unreadable)?;
    // What else the caller had in its registers is not known.
    *registers = Registers::new();
    registers.set(arch.frame_pointer, caller_fp);
    registers.set(arch.stack_pointer, fp.wrapping_add(16));
    Ok(Some(pc))
}

/// Why there is nothing to follow.
#[derive(Debug)]
pub(super) enum NoRecord {
    /// The frame pointer is not known.
    Unknown,
    /// It does not point up the stack.
    Implausible,
    /// It points to nothing.
    Unreadable(Truncation),
}
