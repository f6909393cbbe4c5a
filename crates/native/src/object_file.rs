use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::ImageAddress;
use crate::arch::Architecture;
use crate::image::{Image, ImageError, ObjectBytes, SectionName, unpack_xz};
use crate::symbols::{DebugInfo, Linkage, SymbolTable};
use crate::unwind::Cfi;

/// An object file, with all that was found in it so far: nothing here depends on
/// the target that has it mapped.
#[derive(Debug)]
pub(crate) struct ObjectFile {
    image: Arc<Image>,
    cfi: Cfi,
    full: OnceLock<Option<SymbolTable>>,
    dynamic: OnceLock<Option<SymbolTable>>,
    mini: OnceLock<Option<SymbolTable>>,
    linkage: OnceLock<Linkage>,
    crc: OnceLock<Option<u32>>,
    debug: Mutex<Vec<Debug>>,
}

/// Debug information with what else it refers to.
#[derive(Debug)]
struct Debug {
    supplement: Option<Arc<ObjectFile>>,
    info: Arc<DebugInfo>,
}

/// Files that the debug information of one is kept together with: it belongs to one,
/// which may be there or not.
const MAX_SUPPLEMENTS: usize = 2;

impl ObjectFile {
    pub(crate) fn parse(bytes: ObjectBytes) -> Result<Arc<Self>, ImageError> {
        let image = Image::parse(bytes)?;
        Ok(Arc::new(Self {
            cfi: Cfi::of(&image),
            image: Arc::new(image),
            full: OnceLock::new(),
            dynamic: OnceLock::new(),
            mini: OnceLock::new(),
            linkage: OnceLock::new(),
            crc: OnceLock::new(),
            debug: Mutex::default(),
        }))
    }

    pub(crate) fn image(&self) -> &Arc<Image> {
        &self.image
    }

    pub(crate) fn cfi(&self) -> &Cfi {
        &self.cfi
    }

    /// `.symtab`.
    pub(crate) fn full_symbols(&self) -> Option<&SymbolTable> {
        let read = || SymbolTable::read(&self.image, false);
        self.full.get_or_init(read).as_ref()
    }

    /// `.dynsym`.
    pub(crate) fn dynamic_symbols(&self) -> Option<&SymbolTable> {
        let read = || SymbolTable::read(&self.image, true);
        self.dynamic.get_or_init(read).as_ref()
    }

    /// `.gnu_debugdata`: an object file with nothing but `.symtab`, packed with xz.
    pub(crate) fn mini_symbols(&self) -> Option<&SymbolTable> {
        let read = || {
            let packed = self.image.section(SectionName::GnuDebugdata)?;
            let bytes = packed.once(unpack_xz)??;
            let image = Image::parse(ObjectBytes::new(bytes)).ok()?;
            SymbolTable::read(&Arc::new(image), false)
        };
        self.mini.get_or_init(read).as_ref()
    }

    /// What its stubs jump to. `arch` is what it was made for.
    pub(crate) fn linkage(&self, arch: &Architecture) -> &Linkage {
        let read = || Linkage::read(&self.image, arch);
        self.linkage.get_or_init(read)
    }

    /// The CRC-32 of all its bytes, `None` if they cannot be had.
    pub(crate) fn crc(&self) -> Option<u32> {
        *self.crc.get_or_init(|| {
            let mut hasher = crc32fast::Hasher::new();
            let whole = self.image.bytes().each_piece(|piece| hasher.update(piece));
            whole.then(|| hasher.finalize())
        })
    }

    /// Its debug information, of which that of `first` is going to be asked for; who
    /// asks while it is unpacked waits.
    pub(crate) fn debug_info(
        &self,
        supplement: Option<&Arc<Self>>,
        first: ImageAddress,
    ) -> Arc<DebugInfo> {
        let mut known = self.debug.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |debug: &&Debug| {
            debug.supplement.as_ref().map(Arc::as_ptr) == supplement.map(Arc::as_ptr)
        };
        if let Some(debug) = known.iter().find(is_same) {
            return Arc::clone(&debug.info);
        }
        let other = supplement.map(|file| &file.image);
        let info = Arc::new(DebugInfo::open(&self.image, other, first));
        if known.len() < MAX_SUPPLEMENTS {
            known.push(Debug {
                supplement: supplement.cloned(),
                info: Arc::clone(&info),
            });
        }
        info
    }
}
