use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use firefinch_memory::RemoteAddr;

/// What a mapping permits the target to do, and whether it is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Perms {
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `x`
    pub exec: bool,
    /// `s`: writes are seen by others who map the same thing.
    pub shared: bool,
}

/// The device number of a file system, as `maps` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What stands behind a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backing {
    /// Private memory without a name.
    Anonymous,
    /// A file, by its path as the kernel shows it to us: seen from our root
    /// if the file can be reached from there, else from the root of the mount
    /// namespace it lives in. Includes `/memfd:NAME`, `/dev/zero` and
    /// `/SYSV…`, which are always deleted.
    File {
        /// The path, without the ` (deleted)` mark.
        path: Arc<Path>,
        /// The kernel says the file has been unlinked. A file whose real name
        /// ends in ` (deleted)` looks the same.
        deleted: bool,
    },
    /// `[heap]`: grown by `brk`.
    Heap,
    /// `[stack]`: of the main thread.
    Stack,
    /// `[vdso]`: code the kernel lends to every process.
    Vdso,
    /// Anything else: `[vvar]`, `[vsyscall]`, `[anon:NAME]`, `anon_inode:…`.
    Other(Arc<OsStr>),
}

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first byte.
    pub start: RemoteAddr,
    /// One past the last byte; above `start`.
    pub end: RemoteAddr,
    /// What the target may do with it.
    pub perms: Perms,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// The file system of the file, zero without one.
    pub device: Device,
    /// The file's inode, zero without one.
    pub inode: u64,
    /// What stands behind it.
    pub backing: Backing,
}

impl Mapping {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.end.get().saturating_sub(self.start.get())
    }

    /// Whether it has no bytes at all: never, for a mapping from the kernel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the address lies inside.
    pub fn contains(&self, addr: RemoteAddr) -> bool {
        self.start <= addr && addr < self.end
    }

    /// The path of the file behind it, deleted or not.
    pub fn path(&self) -> Option<&Path> {
        match &self.backing {
            Backing::File { path, .. } => Some(path),
            _ => None,
        }
    }
}
