use std::collections::BTreeMap;
use std::fs;

use firefinch_memory::Memory;
use firefinch_native::{MappedFile, Mapping, ObjectBytes, Objects, Origin};
use firefinch_process::{Backing, Process};

/// Objects of a process in our own file system.
#[derive(Debug, Default)]
pub(crate) struct Files {
    vdso: Vec<u8>,
    /// Bytes instead of a file's, by path.
    pub(crate) replaced: BTreeMap<String, Vec<u8>>,
}

impl Objects for Files {
    fn object(&self, origin: &Origin) -> Option<ObjectBytes> {
        match origin {
            Origin::File(file) => {
                let replaced = self.replaced.get(file.path.to_str()?).cloned();
                let bytes = replaced.or_else(|| fs::read(&file.path).ok())?;
                Some(ObjectBytes::new(bytes))
            }
            Origin::Vdso => Some(ObjectBytes::new(self.vdso.clone())),
            Origin::Anonymous => None,
        }
    }
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
