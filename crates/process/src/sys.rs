//! The system calls that have no safe wrapper elsewhere: all `unsafe` of the workspace.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Once;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd;

use crate::{Pid, Tid};

/// A file descriptor for the process; polls readable once all its threads are
/// gone. ENOSYS before Linux 5.3.
pub(crate) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.get(), 0) };
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::other("bad descriptor"))?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a process or thread with this number exists, visible in `/proc` or not.
pub(crate) fn exists(pid: Pid) -> bool {
    // SAFETY: signal 0 is not delivered; the call only checks for existence.
    let result = unsafe { libc::kill(pid.get(), 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Whether two processes have one and the same memory, as between vfork and exec.
/// ENOSYS where the kernel was built without CONFIG_KCMP.
pub(crate) fn share_memory(one: Pid, other: Pid) -> io::Result<bool> {
    /// `enum kcmp_type` of include/uapi/linux/kcmp.h.
    const KCMP_VM: libc::c_long = 1;
    let none: libc::c_long = 0;
    // SAFETY: the call takes five integers and touches no memory of ours.
    let order =
        unsafe { libc::syscall(libc::SYS_kcmp, one.get(), other.get(), KCMP_VM, none, none) };
    match order {
        0 => Ok(true),
        1.. => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How the calling thread is given turns on a processor.
pub(crate) fn turns() -> io::Result<libc::sched_attr> {
    let none: libc::c_long = 0;
    let len = size_of::<libc::sched_attr>();
    // SAFETY: all zeros is a valid value of this plain C struct.
    let mut attr: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the `len` bytes that `attr` has, and only during
    // the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, none, &raw mut attr, len, none) };
    match result {
        0 => Ok(attr),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the calling thread take turns of so many nanoseconds, if it shares the processor
/// with others in the usual way.
pub(crate) fn take_short_turns(nanoseconds: u64) -> io::Result<()> {
    let mut attr = turns()?;
    if attr.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attr.sched_runtime = nanoseconds;
    let none: libc::c_long = 0;
    // SAFETY: the kernel reads `attr`, whose `size` it has filled in itself, and only
    // during the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, none, &raw const attr, none) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What `waitid` tells about a thread we trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEvent {
    /// Nothing yet.
    None,
    /// It stands still. `event` is PTRACE_EVENT_STOP (128) for an interrupt or
    /// a group-stop, 0 when a signal is about to be delivered.
    Stopped { signal: i32, event: i32 },
    /// It has ended and is reaped.
    Ended,
}

/// What [`wait_now`] takes notice of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collect {
    Stops,
    Ends,
    Both,
}

impl Collect {
    fn kinds(self) -> i32 {
        match self {
            Self::Stops => libc::WSTOPPED,
            Self::Ends => libc::WEXITED,
            Self::Both => libc::WSTOPPED | libc::WEXITED,
        }
    }
}

/// Asks, without waiting, what became of a thread we trace.
pub(crate) fn wait_now(tid: Tid, collect: Collect) -> io::Result<WaitEvent> {
    let kinds = collect.kinds();
    if collect == Collect::Ends {
        // Stops of tracees are taken "regardless of options" (kernel/exit.c,
        // `wait_task_stopped`), so look first: an end is there to stay.
        let peek = wait_with(tid, kinds | libc::WNOWAIT | libc::WNOHANG)?;
        if peek != WaitEvent::Ended {
            return Ok(WaitEvent::None);
        }
    }
    wait_with(tid, kinds | libc::WNOHANG)
}

/// Waits until something becomes of a thread we trace, or a signal comes.
pub(crate) fn wait(tid: Tid, collect: Collect) -> io::Result<WaitEvent> {
    wait_with(tid, collect.kinds())
}

fn wait_with(tid: Tid, options: i32) -> io::Result<WaitEvent> {
    let options = options | libc::__WALL;
    let id = libc::id_t::from(tid.get().unsigned_abs());
    // SAFETY: siginfo_t is made of integers and pointers that we never follow,
    // for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one siginfo_t, to a place of that size.
    let result = unsafe { libc::waitid(libc::P_PID, id, &mut info, options) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: waitid fills in the fields for SIGCHLD, or leaves them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(WaitEvent::None);
    }
    Ok(match info.si_code {
        libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED => WaitEvent::Ended,
        _ => WaitEvent::Stopped {
            signal: status & 0xff,
            event: status >> 8,
        },
    })
}

/// Becomes the tracer of a thread, without stopping it.
pub(crate) fn seize(tid: Tid) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: without options, neither pointer is followed.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid.get(), none, none) };
    check(result)
}

/// Has a thread we trace stop as soon as it can.
pub(crate) fn interrupt(tid: Tid) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the request takes neither pointer.
    let result = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, tid.get(), none, none) };
    check(result)
}

/// Lets a thread that stands still go, delivering `signal` unless it is 0.
pub(crate) fn detach(tid: Tid, signal: i32) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    let signal = libc::c_long::from(signal);
    // SAFETY: the last argument is a signal number, not a pointer.
    let result = unsafe { libc::ptrace(libc::PTRACE_DETACH, tid.get(), none, signal) };
    check(result)
}

/// The size in bytes of what `NT_PRSTATUS` gives of a 64-bit thread: `struct
/// user_regs_struct` (arch/x86/include/asm/user_64.h), 216 on x86-64.
pub const REGISTERS_LEN: usize = size_of::<libc::user_regs_struct>();

/// The general registers of a thread that stands still.
pub(crate) fn registers(tid: Tid) -> io::Result<[u8; REGISTERS_LEN]> {
    let mut bytes = [0; REGISTERS_LEN];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let request = libc::PTRACE_GETREGSET;
    // SAFETY: the kernel writes at most `iov_len` bytes to `iov_base`, which
    // is an array of that size, and how many into `iov_len`. Both outlive the
    // call.
    let result = unsafe { libc::ptrace(request, tid.get(), libc::NT_PRSTATUS, &raw mut part) };
    check(result)?;
    if part.iov_len != bytes.len() {
        // The set of a 32-bit thread is smaller (arch/x86/kernel/ptrace.c,
        // `task_user_regset_view`).
        return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
    }
    Ok(bytes)
}

/// The signal that interrupts a wait. Who has no handler for it does not see it.
const NUDGE: Signal = Signal::SIGURG;

extern "C" fn be_nudged(_: libc::c_int) {}

/// Has [`nudge`] interrupt a system call of the calling thread.
pub(crate) fn allow_nudges() {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        let handler = SigHandler::Handler(be_nudged);
        // Without SA_RESTART: calls end with EINTR.
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing at all.
        let _ = unsafe { sigaction(NUDGE, &action) };
    });
    let _ = SigSet::from(NUDGE).thread_unblock();
}

/// Interrupts what a thread of ours waits for.
pub(crate) fn nudge(thread: unistd::Pid) {
    let own = unistd::getpid().as_raw();
    // SAFETY: takes three integers. A thread that has allowed it is interrupted,
    // and to any other the signal is nothing.
    unsafe { libc::syscall(libc::SYS_tgkill, own, thread.as_raw(), NUDGE as libc::c_int) };
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
