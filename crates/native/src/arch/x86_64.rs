//! x86_64: the System V ABI.

mod call;
mod decode;
mod entry;
mod exit;
mod stub;
mod values;

use firefinch_memory::Bytes;
use gimli::Vendor;

use super::Architecture;
use crate::registers::{Register, RegisterSet, Registers};
use crate::unwind::Rule;

/// The general registers, as numbered in figure 3.36 of the ABI (version 1.0).
pub const RAX: Register = Register(0);
/// See [`RAX`].
pub const RDX: Register = Register(1);
/// See [`RAX`].
pub const RCX: Register = Register(2);
/// See [`RAX`].
pub const RBX: Register = Register(3);
/// See [`RAX`].
pub const RSI: Register = Register(4);
/// See [`RAX`].
pub const RDI: Register = Register(5);
/// The frame pointer, in code that keeps one.
pub const RBP: Register = Register(6);
/// The stack pointer.
pub const RSP: Register = Register(7);
/// See [`RAX`]; the numbers of R9 to R15 follow.
pub const R8: Register = Register(8);
/// See [`RAX`].
pub const R12: Register = Register(12);
/// See [`RAX`].
pub const R15: Register = Register(15);
/// The column of the return address, and the instruction pointer in expressions.
pub const RIP: Register = Register(16);

/// x86_64.
pub static X86_64: Architecture = Architecture {
    machine: object::elf::EM_X86_64,
    vendor: Vendor::Default,
    stack_pointer: RSP,
    frame_pointer: RBP,
    link_register: None,
    pc: Some(RIP),
    preserved: RegisterSet::of(&[3, 6, 7, 12, 13, 14, 15]),
    // User space ends at 2^47, or at 2^56 with five levels of page tables.
    pointer_mask: u64::MAX,
    signal_return,
    signal_return_first: &[5, 7],
    stub: stub::rule,
    stub_target: stub::target,
    indirect_relocation: object::elf::R_X86_64_IRELATIVE,
    by_exit: exit::rule,
    by_entry: entry::rule,
    below_frame_pointer: entry::below_frame_pointer,
    starts_here,
    call_before: call::before,
    longest_call: 8,
};

/// The registers in a `struct user_regs_struct` of 27 words, as
/// `PTRACE_GETREGSET` with `NT_PRSTATUS` gives it
/// (arch/x86/include/asm/user_64.h). `None` if it is shorter.
pub fn registers_from_prstatus(bytes: &[u8]) -> Option<Registers> {
    const ORDER: [(usize, Register); 17] = [
        (0, R15),
        (1, Register(14)),
        (2, Register(13)),
        (3, R12),
        (4, RBP),
        (5, RBX),
        (6, Register(11)),
        (7, Register(10)),
        (8, Register(9)),
        (9, R8),
        (10, RAX),
        (11, RCX),
        (12, RDX),
        (13, RSI),
        (14, RDI),
        (16, RIP),
        (19, RSP),
    ];
    let mut registers = Registers::new();
    for (word, register) in ORDER {
        registers.set(register, Bytes(bytes).u64(word * 8)?);
    }
    Some(registers)
}

/// `mov $15, %rax; syscall` with a long or a short move: the code that a
/// signal handler returns to, and nobody else runs. musl's has no unwind
/// information.
const SIGRETURN: [&[u8]; 2] = [
    &[0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05],
    &[0xb8, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05],
];

/// Where `struct rt_sigframe` (arch/x86/include/asm/sigframe.h) keeps each
/// register, from the SP that the handler returned with: the machine context
/// starts 40 bytes into the `ucontext` there.
const SIGNAL_FRAME: [(Register, i32); 16] = [
    (R8, 40),
    (Register(9), 48),
    (Register(10), 56),
    (Register(11), 64),
    (R12, 72),
    (Register(13), 80),
    (Register(14), 88),
    (R15, 96),
    (RDI, 104),
    (RSI, 112),
    (RBP, 120),
    (RBX, 128),
    (RDX, 136),
    (RAX, 144),
    (RCX, 152),
    (RSP, 160),
];

/// … and RIP.
const SIGNAL_PC: i32 = 168;

fn signal_return(code: &[u8]) -> Option<Rule> {
    let known = SIGRETURN.iter().any(|known| code.starts_with(known));
    known.then(|| Rule::signal_frame(RSP, SIGNAL_PC, &SIGNAL_FRAME))
}

/// Go's runtime lets every goroutine return to the second byte of `goexit`, a
/// call between two `nop` (src/runtime/asm_amd64.s, Go 1.19 to 1.25).
fn starts_here(code: &[u8]) -> bool {
    matches!(code, [0x90, 0xe8, _, _, _, _, 0x90, ..])
}
