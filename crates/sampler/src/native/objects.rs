use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use firefinch_memory::{Memory, RemoteAddr};
use firefinch_native::{
    Candidate, DebugPlaces, FileIdentity, Image, Library, ObjectBytes, ObjectSource, Objects,
    Origin, Root,
};
use firefinch_process::{Module, Process, ProcessMemory, open_regular};

use super::debug_files::debug_places;

/// The object files of a live process.
///
/// Files are read and never mapped: whoever truncates a mapped file would end
/// us with SIGBUS, and what changes in it would change under our eyes.
#[derive(Debug)]
pub(super) struct LiveObjects {
    process: Arc<Process>,
    memory: Arc<ProcessMemory>,
    mapped: Mutex<HashMap<Origin, Mapped>>,
    library: Arc<Library>,
}

/// Where in the target something is mapped.
#[derive(Clone, Debug)]
pub(super) enum Mapped {
    /// A file.
    File(Module),
    /// The kernel's shared object: address and length.
    Vdso(RemoteAddr, u64),
}

/// The vDSO has one to five pages.
const MAX_VDSO: usize = 1 << 20;

impl LiveObjects {
    pub(super) fn new(
        process: &Arc<Process>,
        memory: &Arc<ProcessMemory>,
        library: &Arc<Library>,
    ) -> Self {
        Self {
            library: Arc::clone(library),
            process: Arc::clone(process),
            memory: Arc::clone(memory),
            mapped: Mutex::default(),
        }
    }

    /// What is mapped now, for objects opened from now on.
    pub(super) fn set_mapped(&self, mapped: HashMap<Origin, Mapped>) {
        *self.mapped.lock().unwrap_or_else(PoisonError::into_inner) = mapped;
    }

    /// The file behind a module if it is the one that was mapped, by its build
    /// id, else what of it is in memory. On overlayfs the inode may differ from
    /// that of `maps`, and a file at the same path need not be the same file.
    fn file(&self, module: &Module) -> Option<ObjectBytes> {
        let in_memory = self.in_memory(module);
        let mapped = in_memory.and_then(|bytes| Image::parse(bytes).ok());
        let file = self.process.open_module(module).ok().and_then(opened);
        if let Some(bytes) = file {
            let Some(expected) = mapped.as_ref().and_then(Image::build_id) else {
                return Some(bytes);
            };
            let image = Image::parse(bytes.clone()).ok();
            if image.as_ref().and_then(Image::build_id) == Some(expected) {
                return Some(bytes);
            }
        }
        mapped.and_then(|_| self.in_memory(module))
    }

    fn in_memory(&self, module: &Module) -> Option<ObjectBytes> {
        let end = |m: &firefinch_process::Mapping| m.offset.checked_add(m.len());
        let len = module.mappings.iter().filter_map(end).max()?;
        let mut parts: Vec<MappedPart> = module
            .mappings
            .iter()
            .filter(|mapping| mapping.perms.read)
            .map(|mapping| MappedPart {
                start: mapping.start,
                len: mapping.len(),
                offset: mapping.offset,
                // What may have been written to is not what is in the file.
                writable: mapping.perms.write,
            })
            .collect();
        parts.sort_by_key(|part| part.writable);
        let memory = Arc::clone(&self.memory);
        Some(ObjectBytes::read_from(len, MappedObject { memory, parts }))
    }
}

impl Objects for LiveObjects {
    fn object(&self, origin: &Origin) -> Option<ObjectBytes> {
        // Not locked while a file is opened: whoever samples may have others to tell.
        let mapped = {
            let all = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(origin).cloned()
        };
        match mapped? {
            Mapped::File(module) => self.file(&module),
            Mapped::Vdso(start, len) => {
                let bytes = self.memory.read_vec(start, len, MAX_VDSO).ok()?;
                Some(ObjectBytes::new(bytes))
            }
        }
    }

    fn debug_file(&self, candidate: &Candidate) -> Option<ObjectBytes> {
        let file = match candidate.root {
            Root::Target => self.process.open_in_root(&candidate.path),
            Root::Own => open_regular(&candidate.path),
        };
        opened(file.ok()?)
    }

    fn debug_places(&self) -> DebugPlaces {
        debug_places()
    }

    fn source_file(&self, path: &Path) -> Option<ObjectBytes> {
        let file = path.is_absolute().then(|| self.process.open_in_root(path));
        opened(file?.ok()?)
    }

    fn library(&self) -> Option<&Library> {
        Some(&self.library)
    }
}

pub(super) fn opened(file: File) -> Option<ObjectBytes> {
    let metadata = file.metadata().ok()?;
    let identity = FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    let bytes = ObjectBytes::read_from(metadata.len(), OpenedFile(file));
    Some(bytes.of_file(identity))
}

#[derive(Debug)]
struct OpenedFile(File);

impl ObjectSource for OpenedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

/// An object as it lies in the target's memory: most of what is needed for
/// unwinding, and nothing of debug information, which is not mapped.
#[derive(Debug)]
struct MappedObject {
    memory: Arc<ProcessMemory>,
    parts: Vec<MappedPart>,
}

#[derive(Clone, Copy, Debug)]
struct MappedPart {
    start: RemoteAddr,
    len: u64,
    offset: u64,
    writable: bool,
}

impl ObjectSource for MappedObject {
    fn read_at(&self, mut offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let mut rest = buf;
        while !rest.is_empty() {
            let into = |part: &MappedPart| {
                let into = offset.checked_sub(part.offset)?;
                Some((part.start.offset(into), part.len.checked_sub(into)?))
            };
            let mut there = self.parts.iter().filter_map(into);
            let (addr, len) = there.find(|(_, len)| *len > 0).ok_or_else(missing)?;
            let count = usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()));
            let (piece, after) = rest.split_at_mut(count);
            self.memory.read(addr, piece).map_err(|_| missing())?;
            offset = offset.saturating_add(count as u64);
            rest = after;
        }
        Ok(())
    }
}
