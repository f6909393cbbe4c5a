//! What registers there are on the machine that this program runs on.

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use firefinch_memory::RemoteAddr;
    use firefinch_native::arch::x86_64::{R8, RDI, RDX, RIP, RSI, RSP, X86_64};
    use firefinch_native::{Architecture, Register, Registers, arch};
    use firefinch_process::Syscall;

    pub(crate) static ARCH: &Architecture = &X86_64;
    pub(crate) const SP: Register = RSP;

    pub(crate) fn of_prstatus(bytes: &[u8]) -> Option<(RemoteAddr, Registers)> {
        let registers = arch::x86_64::registers_from_prstatus(bytes)?;
        Some((RemoteAddr::new(registers.get(RIP)?), registers))
    }

    /// In a system call the arguments are in these registers
    /// (arch/x86/entry/entry_64.S). The parent of a `vfork` has nothing but
    /// RDI to return by.
    pub(crate) fn of_syscall(syscall: &Syscall) -> Registers {
        let mut registers = Registers::new();
        if syscall.number.get() >= 0 {
            let order = [RDI, RSI, RDX, Register(10), R8, Register(9)];
            for (register, value) in order.into_iter().zip(syscall.args) {
                registers.set(register, value);
            }
        }
        registers.set(RSP, syscall.sp.get());
        registers
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use firefinch_memory::RemoteAddr;
    use firefinch_native::arch::aarch64::AARCH64;
    use firefinch_native::{Architecture, Register, Registers, arch};
    use firefinch_process::Syscall;

    pub(crate) static ARCH: &Architecture = &AARCH64;
    pub(crate) const SP: Register = arch::aarch64::SP;

    pub(crate) fn of_prstatus(bytes: &[u8]) -> Option<(RemoteAddr, Registers)> {
        let (registers, pc) = arch::aarch64::registers_from_prstatus(bytes)?;
        Some((RemoteAddr::new(pc), registers))
    }

    /// In a system call the arguments are in x0 to x5.
    pub(crate) fn of_syscall(syscall: &Syscall) -> Registers {
        let mut registers = Registers::new();
        if syscall.number.get() >= 0 {
            for (number, value) in (0..).zip(syscall.args) {
                registers.set(Register(number), value);
            }
        }
        registers.set(SP, syscall.sp.get());
        registers
    }
}
