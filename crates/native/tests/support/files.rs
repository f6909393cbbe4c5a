use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use firefinch_memory::Memory;
use firefinch_native::{
    Candidate, MappedFile, Mapping, ObjectBytes, ObjectSource, Objects, Origin, Root,
};
use firefinch_process::{Backing, Process};
use object::{Object, ObjectSection};

/// Objects of a process in our own file system.
#[derive(Debug, Default)]
pub(crate) struct Files {
    vdso: Vec<u8>,
    /// What stands for the target's root and for ours when debug files are looked for.
    pub(crate) debug_root: Option<PathBuf>,
    /// Objects have no unwind information.
    pub(crate) undescribed: bool,
    /// The debug files that were found.
    pub(crate) found: Mutex<Vec<Candidate>>,
}

impl Objects for Files {
    fn object(&self, origin: &Origin) -> Option<ObjectBytes> {
        match origin {
            Origin::File(file) if self.undescribed => {
                Some(ObjectBytes::new(undescribed(fs::read(&file.path).ok()?)))
            }
            Origin::File(file) => open(&file.path),
            Origin::Vdso => Some(ObjectBytes::new(self.vdso.clone())),
            Origin::Anonymous => None,
        }
    }

    fn debug_file(&self, candidate: &Candidate) -> Option<ObjectBytes> {
        let root = match candidate.root {
            Root::Target => self.debug_root.as_ref()?.join("target"),
            Root::Own => self.debug_root.as_ref()?.join("own"),
        };
        let below = candidate.path.strip_prefix("/").expect("absolute");
        let bytes = open(&root.join(below))?;
        self.found.lock().expect("whole").push(candidate.clone());
        Some(bytes)
    }
}

/// An object file without what it says about its frames.
fn undescribed(mut bytes: Vec<u8>) -> Vec<u8> {
    const NAMES: [&[u8]; 3] = [b".eh_frame\0", b".eh_frame_hdr\0", b".debug_frame\0"];
    let elf = object::File::parse(&bytes[..]).expect("an object file");
    let names = elf.section_by_name(".shstrtab").expect("sections");
    let names = names.file_range().expect("bytes");
    let start = usize::try_from(names.0).expect("small");
    let end = start + usize::try_from(names.1).expect("small");
    for at in start..end {
        if NAMES.iter().any(|name| bytes[at..].starts_with(name)) {
            bytes[at] = b'x';
        }
    }
    // The program headers have 56 bytes each, the type first.
    let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let count = usize::from(word(56));
    for header in 0..count {
        let at = 64 + header * 56;
        if bytes[at..at + 4] == object::elf::PT_GNU_EH_FRAME.to_le_bytes() {
            bytes[at..at + 4].fill(0);
        }
    }
    bytes
}

struct Opened(File);

impl ObjectSource for Opened {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

fn open(path: &Path) -> Option<ObjectBytes> {
    let file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    Some(ObjectBytes::read_from(len, Opened(file)))
}

/// The executable mappings of a process, and its files.
pub(crate) fn mappings(process: &Process) -> (Vec<Mapping>, Files) {
    let memory = process.memory().expect("readable");
    let mut files = Files::default();
    let mut mappings = Vec::new();
    for mapping in process.maps().expect("alive") {
        let origin = match &mapping.backing {
            Backing::File { path, .. } => Origin::File(MappedFile {
                path: path.clone(),
                device: u64::from(mapping.device.major) << 32 | u64::from(mapping.device.minor),
                inode: mapping.inode,
                build_id: None,
            }),
            Backing::Vdso => {
                let bytes = memory.read_vec(mapping.start, mapping.len(), 1 << 20);
                files.vdso = bytes.expect("mapped");
                Origin::Vdso
            }
            _ => Origin::Anonymous,
        };
        if mapping.perms.exec {
            mappings.push(Mapping {
                start: mapping.start,
                end: mapping.end,
                offset: mapping.offset,
                origin,
            });
        }
    }
    (mappings, files)
}
