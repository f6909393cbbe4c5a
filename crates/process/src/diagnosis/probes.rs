use std::fs;
use std::io::IoSliceMut;
use std::os::unix::fs::MetadataExt;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd;

use crate::owner::{Gid, Uid};
use crate::procfs::{ProcDir, field};
use crate::{Errno, Pid, sys};

/// What the kernel permits us with a process, and what may explain it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// `process_vm_readv` on ourselves: whether we have the call at all.
    pub read_self: Result<(), Errno>,
    /// Opening the target's `maps`: permission to look.
    pub open_maps: Result<(), Errno>,
    /// `process_vm_readv` on the target: permission to attach.
    pub read_target: Result<(), Errno>,
    /// PTRACE_SEIZE on the target: the same, and nobody else attached.
    pub seize: Result<(), Errno>,
    /// Ourselves.
    pub us: OwnFacts,
    /// The target, as far as everybody may know it.
    pub target: TargetFacts,
}

/// What matters about ourselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnFacts {
    /// Our real user: the one that counts for attaching.
    pub uid: Uid,
    /// Our real group.
    pub gid: Gid,
    /// Our user namespace's `uid_map`.
    pub uid_map: String,
    /// The capabilities in force.
    pub effective: Capabilities,
    /// Those we may put in force.
    pub permitted: Capabilities,
    /// Those anybody here could ever get.
    pub bounding: Capabilities,
    /// A seccomp filter is set on us.
    pub seccomp_filter: bool,
    /// `kernel.yama.ptrace_scope`; `None` without Yama.
    pub yama_scope: Option<u8>,
    /// Our security module's label, where we are confined.
    pub label: Option<String>,
}

/// What matters about the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetFacts {
    /// Real, effective and saved user: all three have to be ours.
    pub uids: [Uid; 3],
    /// Real, effective and saved group: all three have to be ours.
    pub gids: [Gid; 3],
    /// Who owns its files in `/proc`: root, if it is not dumpable.
    pub files_owner: Option<Uid>,
    /// Its user namespace's `uid_map`, as we see it.
    pub uid_map: String,
    /// The capabilities it may put in force.
    pub permitted: Capabilities,
    /// The process that traces it.
    pub tracer: Option<Pid>,
    /// Its security module's label, where it is confined.
    pub label: Option<String>,
}

/// A set of capabilities, one bit each (include/uapi/linux/capability.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

/// The number of CAP_SYS_PTRACE.
pub(crate) const CAP_SYS_PTRACE: u32 = 19;

impl Capabilities {
    /// The set with these bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether the capability with this number is in it.
    pub const fn has(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }

    /// Whether all of it is in the other set.
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn parse(status: &[u8], key: &str) -> Self {
        let bits = field(status, key).and_then(|text| u64::from_str_radix(text, 16).ok());
        Self(bits.unwrap_or(0))
    }
}

impl Probes {
    /// Tries each on the process with this number.
    pub(crate) fn collect(pid: Pid) -> Self {
        let own = [1];
        let own_pid = unistd::getpid();
        let raw = unistd::Pid::from_raw(pid.get());
        let open_maps = fs::File::open(format!("/proc/{pid}/maps"));
        Self {
            read_self: read(own_pid, own.as_ptr().addr()),
            open_maps: open_maps.map(drop).map_err(|e| Errno::from(&e)),
            // No process has page 0 mapped (vm.mmap_min_addr), but who may not
            // read at all hears that first.
            read_target: read(raw, 0).or_else(|errno| match errno.raw() {
                libc::EFAULT => Ok(()),
                _ => Err(errno),
            }),
            seize: seize(pid),
            us: OwnFacts::collect(),
            target: TargetFacts::collect(pid),
        }
    }
}

fn read(pid: unistd::Pid, base: usize) -> Result<(), Errno> {
    let mut byte = [0];
    let remote = [RemoteIoVec { base, len: 1 }];
    let result = process_vm_readv(pid, &mut [IoSliceMut::new(&mut byte)], &remote);
    result.map(drop).map_err(Errno::from)
}

/// Attaches from a thread that ends at once. Attaching stops nothing, and what
/// a thread traces is let go when it ends.
fn seize(pid: Pid) -> Result<(), Errno> {
    let attempt = move || sys::seize(pid.leader()).map_err(|e| Errno::from(&e));
    let thread = std::thread::Builder::new().spawn(attempt);
    let thread = thread.map_err(|e| Errno::from(&e))?;
    thread.join().unwrap_or(Err(Errno::EIO))
}

impl OwnFacts {
    fn collect() -> Self {
        let dir = ProcDir::open("/proc/self").ok();
        let file = |name| {
            let text = dir.as_ref().and_then(|dir| dir.read(name).ok());
            text.unwrap_or_default()
        };
        let status = file("status");
        let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
        Self {
            uid: ids(&status, "Uid").map_or(Uid::OVERFLOW, |ids| Uid(ids[0])),
            gid: ids(&status, "Gid").map_or(Gid::OVERFLOW, |ids| Gid(ids[0])),
            uid_map: map(&file("uid_map")),
            effective: Capabilities::parse(&status, "CapEff"),
            permitted: Capabilities::parse(&status, "CapPrm"),
            bounding: Capabilities::parse(&status, "CapBnd"),
            seccomp_filter: field(&status, "Seccomp") == Some("2"),
            yama_scope: yama.ok().and_then(|text| text.trim().parse().ok()),
            label: label(&file("attr/current")),
        }
    }
}

impl TargetFacts {
    fn collect(pid: Pid) -> Self {
        let dir = ProcDir::open(&format!("/proc/{pid}")).ok();
        let file = |name| {
            let text = dir.as_ref().and_then(|dir| dir.read(name).ok());
            text.unwrap_or_default()
        };
        let status = file("status");
        let owner = fs::metadata(format!("/proc/{pid}/status"));
        Self {
            uids: ids(&status, "Uid").map_or([Uid::OVERFLOW; 3], |ids| ids.map(Uid)),
            gids: ids(&status, "Gid").map_or([Gid::OVERFLOW; 3], |ids| ids.map(Gid)),
            files_owner: owner.ok().map(|metadata| Uid(metadata.uid())),
            uid_map: map(&file("uid_map")),
            permitted: Capabilities::parse(&status, "CapPrm"),
            tracer: field(&status, "TracerPid").and_then(|text| process_of(text.parse().ok()?)),
            label: label(&file("attr/current")),
        }
    }
}

/// Real, effective and saved id.
fn ids(status: &[u8], key: &str) -> Option<[u32; 3]> {
    let mut ids = field(status, key)?.split_ascii_whitespace().map(str::parse);
    let mut next = || ids.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// A `uid_map` with its padding removed.
fn map(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    words.join(" ")
}

/// A label that means a restriction: AppArmor calls the others `unconfined`.
/// SELinux labels everything.
fn label(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end_matches(['\0', '\n']);
    (!text.is_empty() && text != "unconfined").then(|| text.to_owned())
}

/// `TracerPid` is the number of the tracing thread; this is its process.
fn process_of(tracer: Pid) -> Option<Pid> {
    let status = fs::read(format!("/proc/{tracer}/status")).ok()?;
    field(&status, "Tgid")?.parse().ok()
}
