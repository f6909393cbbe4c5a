use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;

use super::candidate::DebugPlaces;
use super::debug_files::DebugFiles;
use super::debug_info::DebugInfo;
use super::symbol_table::SymbolTable;
use super::symbolizer::NameSource;
use crate::ImageAddress;
use crate::image::{Image, ObjectBytes, SectionName, unpack_xz};
use crate::modules::Objects;

/// All that one object and its debug files say about names.
#[derive(Debug, Default)]
pub(super) struct ModuleSymbols {
    files: Option<DebugFiles>,
    /// Opened when it is first asked for: unpacking it is most of the work.
    debug: OnceCell<Option<DebugInfo>>,
    tables: Vec<(NameSource, SymbolTable)>,
}

impl ModuleSymbols {
    /// Opens an object that lies at `path` in the target.
    pub(super) fn open(
        object: &Arc<Image>,
        path: Option<&Path>,
        places: &DebugPlaces,
        objects: &dyn Objects,
    ) -> Self {
        let path = path.unwrap_or(Path::new("/"));
        let files = DebugFiles::find(object, path, places, objects);
        let apart = files.as_ref().map(|files| &files.main);
        let full = SymbolTable::read(object, false);
        let full = full.or_else(|| SymbolTable::read(apart?, false));
        let full = full.map(|table| (NameSource::SymbolTable, table));
        let mini = || Some((NameSource::MiniDebugInfo, mini_debug_info(object)?));
        let dynamic = SymbolTable::read(object, true);
        let dynamic = dynamic.map(|table| (NameSource::DynamicSymbols, table));
        Self {
            files,
            debug: OnceCell::new(),
            tables: full.or_else(mini).into_iter().chain(dynamic).collect(),
        }
    }

    /// The debug information, if there is any.
    pub(super) fn debug(&self) -> Option<&DebugInfo> {
        let open = || self.files.as_ref().and_then(DebugInfo::open);
        self.debug.get_or_init(open).as_ref()
    }

    /// The name of the function at an address by the symbol tables. `function`
    /// is where it starts, if that is known.
    pub(super) fn by_table(
        &self,
        address: ImageAddress,
        function: Option<ImageAddress>,
    ) -> Option<(NameSource, String)> {
        let mut tables = self.tables.iter();
        tables.find_map(|(source, table)| Some((*source, table.find(address, function)?)))
    }
}

/// `.gnu_debugdata`: an object file with nothing but `.symtab`, packed with xz.
fn mini_debug_info(object: &Image) -> Option<SymbolTable> {
    let packed = object.section(SectionName::GnuDebugdata)?;
    let bytes = packed.once(unpack_xz)??;
    let image = Image::parse(ObjectBytes::new(bytes)).ok()?;
    SymbolTable::read(&Arc::new(image), false)
}
