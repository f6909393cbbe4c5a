use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use firefinch_memory::RemoteAddr;
use firefinch_native::{Library, MappedFile, Mapping, Modules, Origin};
use firefinch_process::{AccessError, Backing, Process, ProcessMemory};

use super::areas::Areas;
use super::machine::ARCH;
use super::objects::{LiveObjects, Mapped};

/// What is mapped in a live process: its code, and the areas that stacks lie in.
#[derive(Debug)]
pub(super) struct Map {
    process: Arc<Process>,
    objects: Arc<LiveObjects>,
    /// Taken off the paths that the kernel shows.
    root: PathBuf,
    pub(super) modules: Modules,
    mappings: Vec<Mapping>,
    pub(super) areas: Arc<Areas>,
    /// Every file mapping with its first address and its file.
    files: Vec<(RemoteAddr, Origin)>,
    read: Instant,
    patience: Duration,
}

/// How soon the mappings are read again when an address lies in none that is
/// known: at first, and where it has not helped. A program that makes code at
/// run time may map some at any time; a broken stack shows addresses that are
/// no code at each sample. Reading costs about a microsecond a mapping.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(320);

/// A library may be replaced by another one at the same address, which no
/// address shows.
const AT_LEAST: Duration = Duration::from_secs(1);

/// What reading the mappings again has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The code is as it was.
    None,
    /// There is more.
    More,
    /// Some is gone, or is other code now.
    Other,
}

impl Map {
    pub(super) fn read(
        process: &Arc<Process>,
        memory: &Arc<ProcessMemory>,
        library: &Arc<Library>,
    ) -> Result<Self, AccessError> {
        let objects = Arc::new(LiveObjects::new(process, memory, library));
        let root = process.root_path().unwrap_or_default();
        let mut map = Self {
            process: Arc::clone(process),
            root,
            modules: Modules::new(ARCH, Vec::new(), objects.clone()),
            objects,
            mappings: Vec::new(),
            areas: Arc::default(),
            files: Vec::new(),
            read: Instant::now(),
            patience: SOON,
        };
        map.update()?;
        Ok(map)
    }

    /// The file that an address of the target belongs to: of zeroed data
    /// behind a file's mappings that file.
    pub(super) fn file_of(&self, addr: RemoteAddr) -> Option<&Origin> {
        let after = self.files.partition_point(|(start, _)| *start <= addr);
        let (_, origin) = self.files.get(after.checked_sub(1)?)?;
        Some(origin)
    }

    /// Reads the mappings again if that was not done for long.
    pub(super) fn refresh(&mut self) -> Change {
        match self.read.elapsed() >= AT_LEAST {
            true => self.update().unwrap_or(Change::None),
            false => Change::None,
        }
    }

    /// Reads the mappings again for something that is not in them, unless
    /// that was done a moment ago.
    pub(super) fn look_again(&mut self) -> Change {
        if self.read.elapsed() < self.patience {
            return Change::None;
        }
        let change = self.update().unwrap_or(Change::None);
        self.patience = match change {
            Change::None => (self.patience * 2).min(LATER),
            Change::More | Change::Other => SOON,
        };
        change
    }

    fn update(&mut self) -> Result<Change, AccessError> {
        self.read = Instant::now();
        let mappings = self.process.maps()?;
        let mut mapped = HashMap::new();
        let mut by_file = HashMap::new();
        self.files.clear();
        for module in self.process.modules_of(&mappings) {
            let origin = Origin::File(MappedFile {
                path: self.in_root(&module.path).into(),
                device: u64::from(module.device.major) << 32 | u64::from(module.device.minor),
                inode: module.inode,
                build_id: None,
            });
            for mapping in &module.mappings {
                by_file.insert(mapping.start, origin.clone());
                self.files.push((mapping.start, origin.clone()));
            }
            mapped.insert(origin, Mapped::File(module));
        }
        self.files.sort_unstable_by_key(|(start, _)| *start);
        let mut code = Vec::new();
        for mapping in &mappings {
            let origin = match mapping.backing {
                Backing::Vdso => {
                    mapped.insert(Origin::Vdso, Mapped::Vdso(mapping.start, mapping.len()));
                    Origin::Vdso
                }
                _ => by_file
                    .get(&mapping.start)
                    .cloned()
                    .unwrap_or(Origin::Anonymous),
            };
            // The page of `vsyscall` is the kernel's, and cannot be read.
            if mapping.perms.exec && mapping.perms.read {
                code.push(Mapping {
                    start: mapping.start,
                    end: mapping.end,
                    offset: mapping.offset,
                    origin,
                });
            }
        }
        self.areas = Arc::new(Areas::of(&mappings));
        self.objects.set_mapped(mapped);
        if code == self.mappings {
            return Ok(Change::None);
        }
        let kept = self.mappings.iter().all(|known| {
            let at = code.partition_point(|mapping| mapping.start < known.start);
            code.get(at) == Some(known)
        });
        self.modules = self.modules.updated(code.clone());
        self.mappings = code;
        Ok(if kept { Change::More } else { Change::Other })
    }

    /// The path as the target itself has it.
    fn in_root(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.root);
        below.map_or_else(|_| path.to_owned(), |below| Path::new("/").join(below))
    }
}
