use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firefinch_process::Process;

use crate::presence::Presence;

/// Shortens file names to what a reader recognises: relative to the package
/// root, or to the entry of `sys.path` they were imported from.
#[derive(Debug, Default)]
pub(crate) struct ShortPaths {
    sys_path: Vec<PathBuf>,
    short: HashMap<Arc<str>, Arc<str>>,
    /// Whether a directory is a package, asked once each.
    packages: HashMap<PathBuf, bool>,
    presence: Presence,
}

/// Files and directories known before starting anew; a large program has some thousand.
const MAX_KNOWN: usize = 1 << 14;

impl ShortPaths {
    /// With the target's `sys.path`, absolute entries only: a relative one
    /// cannot be a prefix of an absolute file name.
    pub(crate) fn new(sys_path: Vec<String>) -> Self {
        let absolute = |entry: String| {
            let path = PathBuf::from(entry);
            path.is_absolute().then_some(path)
        };
        Self {
            sys_path: sys_path.into_iter().filter_map(absolute).collect(),
            ..Self::default()
        }
    }

    /// Whether the target's `sys.path` was not there yet.
    pub(crate) fn is_unknown(&self) -> bool {
        self.sys_path.is_empty()
    }

    /// The short form of `filename`, which is the target's.
    pub(crate) fn shorten(&mut self, filename: &Arc<str>, process: &Arc<Process>) -> Arc<str> {
        if let Some(short) = self.short.get(filename) {
            return Arc::clone(short);
        }
        let mut presence = std::mem::take(&mut self.presence);
        let short = self.shorten_where(filename, &mut |path| presence.of(path, process));
        self.presence = presence;
        short
    }

    /// The same where `exists` says whether the target has a file.
    fn shorten_where(
        &mut self,
        filename: &Arc<str>,
        exists: &mut dyn FnMut(&Path) -> bool,
    ) -> Arc<str> {
        let short: Arc<str> = match self.root_of(Path::new(&**filename), exists) {
            Some(short) => short.into(),
            None => Arc::clone(filename),
        };
        if self.short.len() >= MAX_KNOWN {
            self.short.clear();
        }
        self.short.insert(Arc::clone(filename), Arc::clone(&short));
        short
    }

    /// What remains behind the root. Of the two candidates the shorter root
    /// wins: a package may lie in no entry of `sys.path` (it was changed
    /// since), and a module of a namespace package has no `__init__.py` above it.
    fn root_of(&mut self, path: &Path, exists: &mut dyn FnMut(&Path) -> bool) -> Option<String> {
        if !path.is_absolute() {
            return None;
        }
        let mut package = path.parent()?.to_path_buf();
        while self.is_package(&package, exists) {
            package = package.parent()?.to_path_buf();
        }
        let entry = self
            .sys_path
            .iter()
            .filter(|entry| path.starts_with(entry))
            .max_by_key(|entry| entry.components().count());
        let root = match entry {
            Some(entry) if package.starts_with(entry) => entry,
            _ => &package,
        };
        let rest = path.strip_prefix(root).ok()?;
        Some(rest.to_string_lossy().into_owned())
    }

    fn is_package(&mut self, dir: &Path, exists: &mut dyn FnMut(&Path) -> bool) -> bool {
        if let Some(known) = self.packages.get(dir) {
            return *known;
        }
        let package = exists(&dir.join("__init__.py"));
        if self.packages.len() >= MAX_KNOWN {
            self.packages.clear();
        }
        self.packages.insert(dir.to_path_buf(), package);
        package
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(sys_path: &[&str], packages: &[&str], filename: &str) -> String {
        let sys_path = sys_path.iter().map(ToString::to_string).collect();
        let mut exists = |path: &Path| {
            path.parent()
                .is_some_and(|dir| packages.iter().any(|p| Path::new(p) == dir))
        };
        let short = ShortPaths::new(sys_path).shorten_where(&filename.into(), &mut exists);
        short.to_string()
    }

    /// Packages, namespace packages, scripts and special names come out as people write them.
    #[test]
    fn names_are_shortened_to_what_people_expect() {
        let lib = [
            "/app",
            "/usr/lib/python3.11",
            "/usr/lib/python3.11/site-packages",
        ];
        let site = "/usr/lib/python3.11/site-packages";
        let django = format!("{site}/django");
        let core = format!("{django}/core");
        let file = format!("{core}/handlers.py");
        let packages = [django.as_str(), core.as_str()];
        assert_eq!(short(&lib, &packages, &file), "django/core/handlers.py");
        // Out of sys.path, the package root still counts.
        assert_eq!(short(&[], &packages, &file), "django/core/handlers.py");
        // A namespace package has no __init__.py.
        let namespace = format!("{site}/google/cloud/x.py");
        assert_eq!(short(&lib, &[], &namespace), "google/cloud/x.py");
        assert_eq!(short(&lib, &[], "/app/main.py"), "main.py");
        assert_eq!(short(&[], &[], "/srv/run.py"), "run.py");
        // A script inside its own package: sys.path[0] is the package itself.
        let inside = ["/app/shop"];
        assert_eq!(short(&inside, &inside, "/app/shop/cart.py"), "shop/cart.py");
        assert_eq!(short(&lib, &[], "<frozen runpy>"), "<frozen runpy>");
        assert_eq!(short(&lib, &[], "rel/mod.py"), "rel/mod.py");
    }
}
