use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use firefinch_memory::RemoteAddr;

use crate::ImageAddress;
use crate::arch::Architecture;
use crate::image::ObjectBytes;
use crate::library::Library;
use crate::mapping::{Mapping, Origin};
use crate::module::Module;
use crate::symbols::{Candidate, DebugPlaces};

/// Opens what modules are made from. The one way to anything outside: whether
/// a path means the target's root or ours, what stands in for a deleted file,
/// how the vDSO's bytes are read, is for the caller to say.
pub trait Objects: Send + Sync {
    /// The bytes of an object, `None` if they cannot be had. Called at most
    /// once for each module, and never for [`Origin::Anonymous`].
    fn object(&self, origin: &Origin) -> Option<ObjectBytes>;

    /// The bytes of a file of debug information, `None` if it is not there,
    /// which is usual.
    fn debug_file(&self, candidate: &Candidate) -> Option<ObjectBytes> {
        let _ = candidate;
        None
    }

    /// Where debug information may have been fetched to.
    fn debug_places(&self) -> DebugPlaces {
        DebugPlaces::default()
    }

    /// The bytes of a source file by its path in the target, `None` if it is
    /// not there, which is usual. The path is what an object says, and may be
    /// anything.
    fn source_file(&self, path: &Path) -> Option<ObjectBytes> {
        let _ = path;
        None
    }

    /// Where files are kept that other targets have mapped too; `None` if nothing is
    /// shared.
    fn library(&self) -> Option<&Library> {
        None
    }
}

/// The executable mappings of a target, and the modules behind them.
#[derive(Clone)]
pub struct Modules {
    arch: &'static Architecture,
    entries: Vec<Entry>,
    objects: Arc<dyn Objects>,
}

#[derive(Clone, Debug)]
struct Entry {
    mapping: Mapping,
    module: Arc<Module>,
    bias: OnceLock<Option<u64>>,
}

/// An address, as its module knows it.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    /// The module.
    pub module: &'a Arc<Module>,
    /// The address in the module's file; `None` if that cannot be had or has
    /// no place for the mapping.
    pub address: Option<ImageAddress>,
}

impl Modules {
    /// The modules behind these mappings, which should be the executable ones.
    /// Of overlapping mappings the first at an address wins.
    pub fn new(
        arch: &'static Architecture,
        mappings: Vec<Mapping>,
        objects: Arc<dyn Objects>,
    ) -> Self {
        let empty = Self {
            arch,
            entries: Vec::new(),
            objects,
        };
        empty.updated(mappings)
    }

    /// The same target with its mappings as they are now. What is known of
    /// modules that are still there is kept.
    #[must_use]
    pub fn updated(&self, mut mappings: Vec<Mapping>) -> Self {
        let known = self.entries.iter();
        let mut modules: HashMap<Origin, Arc<Module>> = known
            .map(|entry| (entry.mapping.origin.clone(), Arc::clone(&entry.module)))
            .collect();
        mappings.sort_by_key(|mapping| (mapping.start, mapping.end));
        let mut entries: Vec<Entry> = Vec::with_capacity(mappings.len());
        for mapping in mappings {
            let free = entries
                .last()
                .is_none_or(|e| e.mapping.end <= mapping.start);
            if !free || mapping.start >= mapping.end {
                continue;
            }
            let module = modules
                .entry(mapping.origin.clone())
                .or_insert_with_key(|origin| Arc::new(Module::new(origin.clone())));
            entries.push(Entry {
                module: Arc::clone(module),
                mapping,
                bias: OnceLock::new(),
            });
        }
        Self {
            arch: self.arch,
            entries,
            objects: Arc::clone(&self.objects),
        }
    }

    /// The target's architecture.
    pub fn arch(&self) -> &'static Architecture {
        self.arch
    }

    /// Where objects come from.
    pub fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// The module of this origin, if it is mapped.
    pub fn module(&self, origin: &Origin) -> Option<&Arc<Module>> {
        let entry = self.entries.iter().find(|e| e.mapping.origin == *origin);
        entry.map(|entry| &entry.module)
    }

    /// The module at an address, `None` if nothing executable is mapped there.
    pub fn locate(&self, addr: RemoteAddr) -> Option<Located<'_>> {
        let entry = self.entry(addr)?;
        let bias = entry.bias.get_or_init(|| self.bias(entry));
        let address = bias.map(|bias| ImageAddress::new(addr.get().wrapping_sub(bias)));
        Some(Located {
            module: &entry.module,
            address,
        })
    }

    /// Whether the target may execute what is at the address.
    pub fn is_code(&self, addr: RemoteAddr) -> bool {
        self.entry(addr).is_some()
    }

    fn entry(&self, addr: RemoteAddr) -> Option<&Entry> {
        let after = self.entries.partition_point(|e| e.mapping.start <= addr);
        let entry = self.entries.get(after.checked_sub(1)?)?;
        (addr < entry.mapping.end).then_some(entry)
    }

    fn bias(&self, entry: &Entry) -> Option<u64> {
        let mapping = &entry.mapping;
        let image = entry.module.image(self.objects(), self.arch).ok()?;
        let len = mapping.end.checked_sub(mapping.start)?;
        image.load_bias(mapping.start.get(), mapping.offset, len)
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modules")
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}
