use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::candidate::DebugPlaces;
use super::debug_files::DebugFiles;
use super::debug_info::DebugInfo;
use super::linkage::Function;
use super::symbol::NameSource;
use super::symbol_table::{SymbolTable, dynamic_name};
use crate::ImageAddress;
use crate::arch::Architecture;
use crate::image::Code;
use crate::modules::Objects;
use crate::object_file::ObjectFile;

/// All that one object and its debug files say about names.
#[derive(Debug, Default)]
pub(super) struct ModuleSymbols {
    object: Option<Arc<ObjectFile>>,
    files: Option<DebugFiles>,
    /// Opened when it is first asked for: unpacking it is most of the work.
    debug: OnceLock<Option<Arc<DebugInfo>>>,
}

impl ModuleSymbols {
    /// Opens an object that lies at `path` in the target.
    pub(super) fn open(
        object: &Arc<ObjectFile>,
        path: Option<&Path>,
        places: &DebugPlaces,
        objects: &dyn Objects,
    ) -> Self {
        let path = path.unwrap_or(Path::new("/"));
        Self {
            object: Some(Arc::clone(object)),
            files: DebugFiles::find(object, path, places, objects),
            debug: OnceLock::new(),
        }
    }

    /// The debug information, if there is any, that is asked for an address.
    pub(super) fn debug(&self, first: ImageAddress) -> Option<&DebugInfo> {
        let open = || {
            let files = self.files.as_ref()?;
            Some(files.main.debug_info(files.supplement.as_ref(), first))
        };
        self.debug.get_or_init(open).as_deref()
    }

    /// The name of the function at an address by the symbol tables. `function`
    /// is where it starts, if that is known.
    pub(super) fn by_table(
        &self,
        address: ImageAddress,
        function: Option<ImageAddress>,
    ) -> Option<(NameSource, String)> {
        let mut tables = self.tables();
        tables.find_map(|(source, table)| Some((source, table.find(address, function)?)))
    }

    /// Whether a linker made the code at an address, to jump to another function.
    pub(super) fn is_stub(&self, address: ImageAddress) -> bool {
        let object = self.object.as_ref();
        object.is_some_and(|object| object.image().stub_at(address).is_some())
    }

    /// The name of the function that the stub at an address jumps to.
    pub(super) fn by_stub(&self, address: ImageAddress, arch: &Architecture) -> Option<String> {
        let object = self.object.as_ref()?;
        let image = object.image();
        let (stub, offset) = image.stub_at(address)?;
        let mut code = Code::of(image);
        let target = (arch.stub_target)(&mut code, stub, address.get(), offset)?;
        match object.linkage(arch).function(target)? {
            Function::Symbol(index) => dynamic_name(image, index),
            Function::At(address) => Some(self.by_table(address, None)?.1),
        }
    }

    /// The symbol tables, the most complete first.
    fn tables(&self) -> impl Iterator<Item = (NameSource, &SymbolTable)> {
        let object = self.object.as_deref();
        let apart = self.files.as_ref().map(|files| &files.main);
        let full = object.and_then(ObjectFile::full_symbols);
        let full = full.or_else(|| apart?.full_symbols());
        let full = full.map(|table| (NameSource::SymbolTable, table));
        let mini = || Some((NameSource::MiniDebugInfo, object?.mini_symbols()?));
        let most = full.or_else(mini);
        let dynamic = std::iter::once_with(move || object?.dynamic_symbols());
        let dynamic = dynamic.flatten();
        let dynamic = dynamic.map(|table| (NameSource::DynamicSymbols, table));
        most.into_iter().chain(dynamic)
    }
}
