//! aarch64: the Procedure Call Standard (AAPCS64).

use firefinch_memory::Bytes;
use gimli::Vendor;

use super::{Architecture, Call, StubTarget};
use crate::ImageAddress;
use crate::image::{Code, Stub};
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
    stub_target,
    indirect_relocation: object::elf::R_AARCH64_IRELATIVE,
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

/// The first entry of `.plt`, 32 bytes, saves x16 and x30 with its first instruction,
/// after a landing place perhaps; all others leave stack and link register alone.
/// Static programs have no such entry.
fn stub(code: &mut Code<'_>, stub: Stub, address: u64, offset: u64) -> Rule {
    const SAVE: u32 = 0xa9bf_7bf0;
    let section = address.wrapping_sub(offset);
    let mut saves = |at: u64| {
        let word = code.at(section.wrapping_add(at)).first_chunk();
        word.is_some_and(|word| u32::from_le_bytes(*word) == SAVE)
    };
    let in_first = stub == Stub::Plt && offset < 32;
    match in_first && [0, 4].into_iter().any(|at| at < offset && saves(at)) {
        true => Rule::stub(SP, 16, Recovery::AtCfa(-8)),
        false => Rule::stub(SP, 0, Recovery::Register(LR)),
    }
}

/// A stub is `adrp x16, page; ldr x17, [x16, #offset]; add; br x17`, after a landing
/// place (`bti c`) if that is wanted.
fn stub_target(code: &mut Code<'_>, _: Stub, address: u64, _: u64) -> Option<StubTarget> {
    const LANDING: u32 = 0xd503_245f;
    let mut word = |at: u64| Some(u32::from_le_bytes(*code.at(at).first_chunk()?));
    let is_adrp = |word: u32| word & 0x9f00_001f == 0x9000_0010;
    let start = match word(address)? {
        LANDING => address.wrapping_add(4),
        _ => address,
    };
    let mut before = (0..4).map(|n| start.wrapping_sub(n * 4));
    let at = before.find(|at| word(*at).is_some_and(is_adrp))?;
    let (adrp, ldr) = (word(at)?, word(at.wrapping_add(4))?);
    if ldr & 0xffc0_03ff != 0xf940_0211 {
        return None;
    }
    let pages = (adrp >> 5 & 0x7_ffff) << 2 | adrp >> 29 & 3;
    // 21 bits, with a sign.
    let pages = (pages << 11).cast_signed() >> 11;
    let page = (at & !0xfff).wrapping_add_signed(i64::from(pages) << 12);
    let slot = page.wrapping_add(u64::from(ldr >> 10 & 0xfff) * 8);
    Some(StubTarget::Slot(ImageAddress::new(slot)))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A stub tells its slot at each of its instructions, with a landing place and without; what is none does not.
    #[test]
    fn stubs() {
        // bti c; adrp x16, -2 pages; ldr x17, [x16, #0x18]; add x16, x16, #0x18; br x17
        let words: [u32; 5] = [
            0xd503_245f,
            0xd0ff_fff0,
            0xf940_0e11,
            0x9100_6210,
            0xd61f_0220,
        ];
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let found = |code: &[u8], offset: u64| {
            let mut code = Code::copied(0x5000, code);
            stub_target(&mut code, Stub::Plt, 0x5000 + offset, offset)
        };
        let slot = Some(StubTarget::Slot(ImageAddress::new(0x3018)));
        for offset in (0..20).step_by(4) {
            assert_eq!(found(&code, offset), slot, "{offset}");
        }
        assert_eq!(found(&code[..8], 4), None);
        assert_eq!(found(&[0; 20], 16), None);
    }
}
