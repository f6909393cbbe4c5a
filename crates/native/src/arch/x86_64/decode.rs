//! What an instruction is, in DWARF's numbers.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use crate::image::Code;
use crate::registers::Register as Number;

/// The instruction at an address; an invalid one where there is none.
pub(super) fn decode(code: &mut Code<'_>, address: u64) -> Instruction {
    let bytes = code.at(address);
    Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode()
}

/// A general register, whichever part of it is meant.
pub(super) fn number(register: Register) -> Option<Number> {
    Some(Number(match register.full_register() {
        Register::RAX => 0,
        Register::RDX => 1,
        Register::RCX => 2,
        Register::RBX => 3,
        Register::RSI => 4,
        Register::RDI => 5,
        Register::RBP => 6,
        Register::RSP => 7,
        Register::R8 => 8,
        Register::R9 => 9,
        Register::R10 => 10,
        Register::R11 => 11,
        Register::R12 => 12,
        Register::R13 => 13,
        Register::R14 => 14,
        Register::R15 => 15,
        _ => return None,
    }))
}

/// The operand in memory, at a register with an offset.
pub(super) fn memory(instruction: &Instruction) -> Option<(Number, i32)> {
    let kinds = [instruction.op0_kind(), instruction.op1_kind()];
    let is_plain = instruction.memory_index() == Register::None;
    if !kinds.contains(&OpKind::Memory) || !is_plain {
        return None;
    }
    // Displacements of 32 bits are sign-extended.
    let offset = instruction.memory_displacement64().cast_signed();
    let base = number(instruction.memory_base())?;
    Some((base, i32::try_from(offset).ok()?))
}

/// The second operand as a number.
pub(super) fn immediate(instruction: &Instruction) -> Option<i32> {
    let is_immediate = matches!(
        instruction.op1_kind(),
        OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate8 | OpKind::Immediate32
    );
    let value = is_immediate.then(|| instruction.immediate(1))?;
    i32::try_from(value.cast_signed()).ok()
}
