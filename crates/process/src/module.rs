use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::mapping::{Backing, Device, Mapping};
use crate::{AccessError, ExePath, Process};

/// A file mapped into the target, with all its mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The path as in [`Backing::File`].
    pub path: Arc<Path>,
    /// The kernel says the file has been unlinked.
    pub deleted: bool,
    /// The file system, as `maps` shows it.
    pub device: Device,
    /// The file's inode.
    pub inode: u64,
    /// Its mappings in address order; never empty. A file that was mapped
    /// twice as a whole has the mappings of both.
    pub mappings: Vec<Mapping>,
    /// Whether it is what the process was exec'ed from.
    pub is_exe: bool,
}

impl Module {
    /// Whether the target may execute any of it.
    pub fn is_executable(&self) -> bool {
        self.mappings.iter().any(|m| m.perms.exec)
    }
}

impl Process {
    /// The files mapped into it, in order of their first address.
    ///
    /// # Errors
    /// As [`maps`](Self::maps).
    pub fn modules(&self) -> Result<Vec<Module>, AccessError> {
        Ok(self.modules_of(&self.maps()?))
    }

    /// The same from mappings read before.
    pub fn modules_of(&self, mappings: &[Mapping]) -> Vec<Module> {
        group(mappings, self.exe().ok().as_ref())
    }
}

/// Groups the file mappings by file, in order of each file's first address.
fn group(mappings: &[Mapping], exe: Option<&ExePath>) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut index = HashMap::new();
    for mapping in mappings {
        let Backing::File { path, deleted } = &mapping.backing else {
            continue;
        };
        let key = (mapping.device, mapping.inode, Arc::clone(path), *deleted);
        let at = *index.entry(key).or_insert_with(|| {
            modules.push(Module {
                path: Arc::clone(path),
                deleted: *deleted,
                device: mapping.device,
                inode: mapping.inode,
                mappings: Vec::new(),
                is_exe: exe.is_some_and(|e| e.path == **path && e.deleted == *deleted),
            });
            modules.len() - 1
        });
        if let Some(module) = modules.get_mut(at) {
            module.mappings.push(mapping.clone());
        }
    }
    modules
}
