use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::cython_source::CythonSource;
use super::symbol::Symbol;
use crate::modules::Objects;

/// The files of C that Cython has made, each read at most once.
#[derive(Debug, Default)]
pub(super) struct CythonSources(HashMap<Arc<str>, Option<CythonSource>>);

/// Files of one target: a module has one.
const MAX_FILES: usize = 256;

/// What files of C and C++ end with.
const ENDINGS: [&str; 4] = [".c", ".cpp", ".cc", ".cxx"];

impl CythonSources {
    /// The file and line that its author knows a function by, of which `symbol`
    /// says where it stands in C. `module` is where its object lies.
    pub(super) fn find(
        &mut self,
        symbol: &Symbol,
        module: Option<&Path>,
        objects: &dyn Objects,
    ) -> Option<(Arc<str>, u32)> {
        let (file, line) = (symbol.file.as_ref()?, symbol.line?);
        if !ENDINGS.iter().any(|ending| file.ends_with(ending)) {
            return None;
        }
        if !self.0.contains_key(file) {
            if self.0.len() >= MAX_FILES {
                return None;
            }
            self.0.insert(Arc::clone(file), read(file, module, objects));
        }
        let source = self.0.get(file)?.as_ref()?;
        let (file, line) = source.find(line, &symbol.name)?;
        Some((Arc::clone(file), line))
    }
}

/// Where it was compiled, or beside the object: packages that are built where
/// they are installed come with it.
fn read(file: &str, module: Option<&Path>, objects: &dyn Objects) -> Option<CythonSource> {
    let compiled = Path::new(file);
    let beside = || Some(module?.parent()?.join(compiled.file_name()?));
    let open = |path: &Path| CythonSource::read(&objects.source_file(path)?);
    open(compiled).or_else(|| open(&beside()?))
}
