//! aarch64: the Procedure Call Standard (AAPCS64).

use firefinch_memory::Bytes;
use gimli::Vendor;

use super::{Architecture, Call};
use crate::image::Stub;
use crate::registers::{Register, RegisterSet, Registers};
use crate::unwind::{Recovery, Rule};

/// The frame pointer x29, which points to the frame record: the caller's x29,
/// then the return address.
pub const FP: Register = Register(29);
/// The link register x30, the column of the return address.
pub const LR: Register = Register(30);
/// The stack pointer.
pub const SP: Register = Register(31);

/// aarch64, with 48-bit addresses.
pub static AARCH64: Architecture = Architecture {
    machine: object::elf::EM_AARCH64,
    vendor: Vendor::AArch64,
    stack_pointer: SP,
    frame_pointer: FP,
    link_register: Some(LR),
    pc: None,
    preserved: RegisterSet::of(&[19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 31]),
    // Above come a pointer authentication code and perhaps a tag. Linux puts
    // nothing above 48 bits unless a process asks for such an address
    // (Documentation/arch/arm64/memory.rst).
    pointer_mask: (1 << 48) - 1,
    signal_return,
    signal_return_first: &[4],
    stub,
    by_exit: |_, _| None,
    by_entry: |_, _, _| None,
    below_frame_pointer: |_, _, _| None,
    starts_here: |_| false,
    call_before,
    longest_call: 4,
};

/// The registers and the instruction pointer in a `struct user_pt_regs` of 34
/// words: x0 to x30, SP, PC, PSTATE (arch/arm64/include/uapi/asm/ptrace.h).
/// `None` if it is shorter.
pub fn registers_from_prstatus(bytes: &[u8]) -> Option<(Registers, u64)> {
    let mut registers = Registers::new();
    for number in 0..=SP.0 {
        let value = Bytes(bytes).u64(usize::from(number) * 8)?;
        registers.set(Register(number), value);
    }
    Some((registers, Bytes(bytes).u64(32 * 8)?))
}

/// `mov x8, #139; svc #0`: the code that a signal handler returns to. The vDSO
/// has no unwind information for it since Linux 5.8, and before that it lost
/// the interrupted function (arch/arm64/kernel/vdso/sigreturn.S).
const SIGRETURN: [u8; 8] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// `struct rt_sigframe` (arch/arm64/kernel/signal.c) at the handler's SP: 128
/// bytes of `siginfo`, a `ucontext` with the machine context at 176 and, after
/// the fault's address, x0 to x30, SP and PC.
const CONTEXT: i32 = 128 + 176 + 8;

fn signal_return(code: &[u8]) -> Option<Rule> {
    let at = |n: u8| CONTEXT + i32::from(n) * 8;
    let saved = || -> Vec<_> { (0..=SP.0).map(|n| (Register(n), at(n))).collect() };
    let known = code.starts_with(&SIGRETURN);
    known.then(|| Rule::signal_frame(SP, at(32), &saved()))
}

/// The first entry of `.plt`, 32 bytes, saves x16 and x30 with its first
/// instruction; all others leave stack and link register alone.
fn stub(stub: Stub, offset: u64) -> Rule {
    match (stub, offset) {
        (Stub::Plt, 4..32) => Rule::stub(SP, 16, Recovery::AtCfa(-8)),
        _ => Rule::stub(SP, 0, Recovery::Register(LR)),
    }
}

/// `bl` with an offset in words, or `blr` and its kin.
fn call_before(bytes: &[u8], after: u64) -> Call {
    let Some(instruction) = bytes.last_chunk() else {
        return Call::None;
    };
    let instruction = u32::from_le_bytes(*instruction);
    if instruction >> 26 == 0b10_0101 {
        let words = (instruction << 6).cast_signed() >> 6;
        let from = after.wrapping_sub(4);
        return Call::To(from.wrapping_add_signed(i64::from(words) * 4));
    }
    // BLR, BLRAA and BLRAB, with a zero modifier or not.
    match instruction & 0xfeff_f000 == 0xd63f_0000 {
        true => Call::Somewhere,
        false => Call::None,
    }
}
