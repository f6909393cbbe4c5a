use std::fmt;

/// The number of a system call on this architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyscallNumber(i64);

impl SyscallNumber {
    /// What the kernel shows for a thread that waits outside any system call:
    /// in a page fault, or while it handles a signal.
    pub const NONE: Self = Self(-1);

    /// The system call with this number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Its name; `None` for a number this version does not know.
    pub fn name(self) -> Option<&'static str> {
        let number = usize::try_from(self.0).ok()?;
        // A linear search: names are wanted for a person to read, not per sample.
        ARCH.iter().chain(COMMON).find_map(|(first, names)| {
            let index = number.checked_sub(*first)?;
            names.split(' ').nth(index)
        })
    }
}

impl fmt::Display for SyscallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "system call {}", self.0),
        }
    }
}

/// The name of a system call on this architecture.
pub fn syscall_name(number: i64) -> Option<&'static str> {
    SyscallNumber::new(number).name()
}

/// A run of names with consecutive numbers, and the first number.
type Run = (usize, &'static str);

/// From 424 on every architecture uses the same numbers
/// (scripts/syscall.tbl; up to Linux 6.18).
const COMMON: &[Run] = &[(
    424,
    "\
         pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree \
         move_mount fsopen fsconfig fsmount fspick pidfd_open clone3 close_range \
         openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr \
         quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self \
         memfd_secret process_mrelease futex_waitv set_mempolicy_home_node cachestat \
         fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount \
         listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal \
         setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr \
         file_setattr",
)];

/// arch/x86/entry/syscalls/syscall_64.tbl, the 64-bit ABI.
#[cfg(target_arch = "x86_64")]
const ARCH: &[Run] = &[(
    0,
    "\
         read write open close stat fstat lstat poll lseek mmap mprotect munmap brk \
         rt_sigaction rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev \
         access pipe select sched_yield mremap msync mincore madvise shmget shmat \
         shmctl dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile \
         socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen \
         getsockname getpeername socketpair setsockopt getsockopt clone fork vfork \
         execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv \
         msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir \
         fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod \
         chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times \
         ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid getppid \
         getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid \
         setresgid getresgid getpgid setfsuid setfsgid getsid capget capset \
         rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime \
         mknod uselib personality ustat statfs fstatfs sysfs getpriority setpriority \
         sched_setparam sched_getparam sched_setscheduler sched_getscheduler \
         sched_get_priority_max sched_get_priority_min sched_rr_get_interval mlock \
         munlock mlockall munlockall vhangup modify_ldt pivot_root _sysctl prctl \
         arch_prctl adjtimex setrlimit chroot sync acct settimeofday mount umount2 \
         swapon swapoff reboot sethostname setdomainname iopl ioperm create_module \
         init_module delete_module get_kernel_syms query_module quotactl nfsservctl \
         getpmsg putpmsg afs_syscall tuxcall security gettid readahead setxattr \
         lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr \
         flistxattr removexattr lremovexattr fremovexattr tkill time futex \
         sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy \
         io_getevents io_submit io_cancel get_thread_area lookup_dcookie epoll_create \
         epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address \
         restart_syscall semtimedop fadvise64 timer_create timer_settime timer_gettime \
         timer_getoverrun timer_delete clock_settime clock_gettime clock_getres \
         clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes vserver mbind \
         set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive \
         mq_notify mq_getsetattr kexec_load waitid add_key request_key keyctl \
         ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch \
         migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat \
         renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll \
         unshare set_robust_list get_robust_list splice tee sync_file_range vmsplice \
         move_pages utimensat epoll_pwait signalfd timerfd_create eventfd fallocate \
         timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 \
         pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg \
         fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at \
         clock_adjtime syncfs sendmmsg setns getcpu process_vm_readv process_vm_writev \
         kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom \
         memfd_create kexec_file_load bpf execveat userfaultfd membarrier mlock2 \
         copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx \
         io_pgetevents rseq uretprobe",
)];

/// scripts/syscall.tbl as arm64 uses it, the 64-bit ABI.
#[cfg(target_arch = "aarch64")]
const ARCH: &[Run] = &[
    (
        0,
        "\
         io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr \
         fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr \
         removexattr lremovexattr fremovexattr getcwd lookup_dcookie eventfd2 \
         epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1 \
         inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat \
         mkdirat unlinkat symlinkat linkat renameat umount2 mount pivot_root \
         nfsservctl statfs fstatfs truncate ftruncate fallocate faccessat chdir fchdir \
         chroot fchmod fchmodat fchownat fchown openat close vhangup pipe2 quotactl \
         getdents64 lseek read write readv writev pread64 pwrite64 preadv pwritev \
         sendfile pselect6 ppoll signalfd4 vmsplice splice tee readlinkat newfstatat \
         fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime \
         timerfd_gettime utimensat acct capget capset personality exit exit_group \
         waitid set_tid_address unshare futex set_robust_list get_robust_list \
         nanosleep getitimer setitimer kexec_load init_module delete_module \
         timer_create timer_gettime timer_getoverrun timer_settime timer_delete \
         clock_settime clock_gettime clock_getres clock_nanosleep syslog ptrace \
         sched_setparam sched_setscheduler sched_getscheduler sched_getparam \
         sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max \
         sched_get_priority_min sched_rr_get_interval restart_syscall kill tkill \
         tgkill sigaltstack rt_sigsuspend rt_sigaction rt_sigprocmask rt_sigpending \
         rt_sigtimedwait rt_sigqueueinfo rt_sigreturn setpriority getpriority reboot \
         setregid setgid setreuid setuid setresuid getresuid setresgid getresgid \
         setfsuid setfsgid times setpgid getpgid getsid setsid getgroups setgroups \
         uname sethostname setdomainname getrlimit setrlimit getrusage umask prctl \
         getcpu gettimeofday settimeofday adjtimex getpid getppid getuid geteuid \
         getgid getegid gettid sysinfo mq_open mq_unlink mq_timedsend mq_timedreceive \
         mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd semget semctl semtimedop \
         semop shmget shmctl shmat shmdt socket socketpair bind listen accept connect \
         getsockname getpeername sendto recvfrom setsockopt getsockopt shutdown \
         sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl clone \
         execve mmap fadvise64 swapon swapoff mprotect msync mlock munlock mlockall \
         munlockall mincore madvise remap_file_pages mbind get_mempolicy set_mempolicy \
         migrate_pages move_pages rt_tgsigqueueinfo perf_event_open accept4 recvmmsg",
    ),
    (
        260,
        "\
         wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at \
         open_by_handle_at clock_adjtime syncfs setns sendmmsg process_vm_readv \
         process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2 \
         seccomp getrandom memfd_create bpf execveat userfaultfd membarrier mlock2 \
         copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx \
         io_pgetevents rseq kexec_file_load",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! same {
        ($($name:ident: $number:ident),* $(,)?) => {
            $(assert_eq!(syscall_name(libc::$number), Some(stringify!($name)));)*
        };
    }

    /// The table agrees with the C library's constants at the ends of its runs and where threads usually wait.
    #[test]
    fn names_agree_with_the_c_library() {
        same! {
            read: SYS_read, pread64: SYS_pread64, futex: SYS_futex, ppoll: SYS_ppoll,
            epoll_pwait: SYS_epoll_pwait, nanosleep: SYS_nanosleep, wait4: SYS_wait4,
            clock_nanosleep: SYS_clock_nanosleep, accept4: SYS_accept4, ioctl: SYS_ioctl,
            recvfrom: SYS_recvfrom, recvmsg: SYS_recvmsg, sendto: SYS_sendto,
            connect: SYS_connect, rt_sigtimedwait: SYS_rt_sigtimedwait, fsync: SYS_fsync,
            flock: SYS_flock, pselect6: SYS_pselect6, exit_group: SYS_exit_group,
            mbind: SYS_mbind, openat: SYS_openat, statx: SYS_statx, rseq: SYS_rseq,
            io_setup: SYS_io_setup, accept: SYS_accept, mq_timedreceive: SYS_mq_timedreceive,
            pidfd_send_signal: SYS_pidfd_send_signal, io_uring_enter: SYS_io_uring_enter,
            pidfd_open: SYS_pidfd_open, epoll_pwait2: SYS_epoll_pwait2,
            futex_waitv: SYS_futex_waitv, set_mempolicy_home_node: SYS_set_mempolicy_home_node,
            mseal: SYS_mseal,
        }
    }

    /// A number without a name, below, between or above the runs, has none.
    #[test]
    fn unknown_numbers_have_no_name() {
        for number in [i64::MIN, -1, 400, 423, 100_000, i64::MAX] {
            assert_eq!(syscall_name(number), None, "{number}");
        }
        assert_eq!(SyscallNumber::new(400).to_string(), "system call 400");
    }
}
