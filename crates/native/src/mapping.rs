use std::path::Path;
use std::sync::Arc;

use firefinch_memory::RemoteAddr;

use crate::image::BuildId;

/// A range of the target's address space that it may execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: RemoteAddr,
    /// The address after the last.
    pub end: RemoteAddr,
    /// Where in the file it starts, in bytes; 0 without a file.
    pub offset: u64,
    /// What is mapped.
    pub origin: Origin,
}

/// What stands behind a mapping. Mappings with equal origins belong to one module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A file.
    File(MappedFile),
    /// The kernel's shared object.
    Vdso,
    /// Memory without a file: code made at run time.
    Anonymous,
}

/// A mapped file, as far as it is known without opening it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappedFile {
    /// The path in the target's own view.
    pub path: Arc<Path>,
    /// The file system's number, as the caller numbers them; tells files apart
    /// that had the same path at different times.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// The build id in the mapped memory, if the caller knows it. A file with
    /// another one is not believed.
    pub build_id: Option<BuildId>,
}
