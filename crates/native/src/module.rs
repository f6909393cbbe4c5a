use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::ImageAddress;
use crate::arch::Architecture;
use crate::image::{Image, ImageError, SectionName};
use crate::library;
use crate::mapping::Origin;
use crate::modules::Objects;
use crate::object_file::ObjectFile;
use crate::symbols::DebugFiles;
use crate::unwind::Cfi;

/// An object that code comes from: a file, the vDSO, or nothing that has a
/// name. What its file says is read at first use.
#[derive(Debug)]
pub struct Module {
    origin: Origin,
    loaded: OnceLock<Result<Arc<ObjectFile>, ImageError>>,
    /// The file of debug information that describes frames.
    apart: OnceLock<Option<Arc<ObjectFile>>>,
}

impl Module {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            origin,
            loaded: OnceLock::new(),
            apart: OnceLock::new(),
        }
    }

    /// What it is made from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The name for people: the file's, without its directories.
    pub fn name(&self) -> Cow<'_, str> {
        match &self.origin {
            Origin::File(file) => match file.path.file_name() {
                Some(name) => name.to_string_lossy(),
                None => "[unnamed file]".into(),
            },
            Origin::Vdso => "[vdso]".into(),
            Origin::Anonymous => "[anonymous]".into(),
        }
    }

    /// The object file, loaded at the first call.
    ///
    /// # Errors
    /// [`ImageError`]; the same at every call, as nothing is tried twice.
    pub fn image(
        &self,
        objects: &dyn Objects,
        arch: &Architecture,
    ) -> Result<&Arc<Image>, ImageError> {
        self.file(objects, arch).map(|file| file.image())
    }

    /// Where the function at an address starts, or that part of it, as its
    /// unwind information says: known of stripped files too.
    pub fn function_start(
        &self,
        objects: &dyn Objects,
        arch: &Architecture,
        address: ImageAddress,
    ) -> Option<ImageAddress> {
        let (_, cfi) = self.cfi(objects, arch).ok()?;
        cfi.function_start(arch, address)
    }

    /// Where the function at an address starts, as the object's own symbols say.
    pub(crate) fn symbol_start(
        &self,
        objects: &dyn Objects,
        arch: &Architecture,
        address: ImageAddress,
    ) -> Option<ImageAddress> {
        let file = self.file(objects, arch).ok()?;
        let symbols = file.full_symbols().or_else(|| file.dynamic_symbols());
        symbols?.start(address)
    }

    pub(crate) fn cfi(
        &self,
        objects: &dyn Objects,
        arch: &Architecture,
    ) -> Result<(&Arc<Image>, &Cfi), ImageError> {
        let file = self.file(objects, arch)?;
        Ok((file.image(), file.cfi()))
    }

    /// What describes frames in a file of debug information: compilers write that
    /// for debuggers where they are told not to write it for the program itself.
    pub(crate) fn cfi_apart(&self, objects: &dyn Objects, arch: &Architecture) -> Option<&Cfi> {
        let find = || {
            let Origin::File(mapped) = &self.origin else {
                return None;
            };
            let file = self.file(objects, arch).ok()?;
            let apart = DebugFiles::apart(file, &mapped.path, &objects.debug_places(), objects)?;
            let image = apart.image();
            (image.has(SectionName::DebugFrame) && image.is_for(arch)).then_some(apart)
        };
        let apart = self.apart.get_or_init(find).as_ref();
        apart.map(|file| file.cfi())
    }

    /// The object file with all that is known of it, opened at the first call.
    pub(crate) fn file(
        &self,
        objects: &dyn Objects,
        arch: &Architecture,
    ) -> Result<&Arc<ObjectFile>, ImageError> {
        let loaded = self.loaded.get_or_init(|| {
            if self.origin == Origin::Anonymous {
                return Err(ImageError::NotFound);
            }
            let bytes = objects.object(&self.origin).ok_or(ImageError::NotFound)?;
            let file = library::open(objects, bytes)?;
            let image = file.image();
            if !image.is_for(arch) {
                return Err(ImageError::OtherMachine);
            }
            if let Origin::File(mapped) = &self.origin
                && let Some(expected) = &mapped.build_id
                && image.build_id() != Some(expected)
            {
                return Err(ImageError::OtherBuildId);
            }
            Ok(file)
        });
        loaded.as_ref().map_err(|error| *error)
    }
}
