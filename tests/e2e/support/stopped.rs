#![cfg(target_arch = "x86_64")]

use firefinch_process::Tid;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};

/// Stops a thread, also one that waits, for as long as `look` takes, which gets
/// its registers.
pub(crate) fn stopped<T>(tid: Tid, look: impl FnOnce(&[u8]) -> T) -> T {
    let tid = nix::unistd::Pid::from_raw(tid.get());
    ptrace::seize(tid, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(tid).unwrap();
    waitpid(tid, Some(WaitPidFlag::__WALL)).unwrap();
    let r = ptrace::getregs(tid).unwrap();
    // `struct user_regs_struct`, `arch/x86/include/asm/user_64.h`.
    let words = [
        r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx,
        r.rsi, r.rdi, r.orig_rax, r.rip, r.cs, r.eflags, r.rsp, r.ss, r.fs_base, r.gs_base, r.ds,
        r.es, r.fs, r.gs,
    ];
    let registers: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let seen = look(&registers);
    ptrace::detach(tid, None).unwrap();
    seen
}
