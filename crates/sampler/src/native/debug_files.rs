use std::fs::File;
use std::path::PathBuf;

use firefinch_native::{DebugPlaces, Image};

use super::objects::opened;

/// An object of which functions have no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameless {
    /// Its name for people.
    pub name: String,
    /// What debug information for it is known by, in hexadecimal digits.
    pub build_id: String,
}

/// Where debug information is looked for.
pub(super) fn debug_places() -> DebugPlaces {
    DebugPlaces::from_environment(|name| std::env::var_os(name).map(Into::into))
}

/// Where clients of debuginfod keep what they have fetched, by these environment
/// variables: a directory for each build id, with a file `debuginfo`.
pub fn debuginfod_cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let places = DebugPlaces::from_environment(variable);
    places.debuginfod_caches.into_iter().next()
}

/// Whether a file is an object file with this build id.
pub fn is_debug_file(file: &File, build_id: &str) -> bool {
    let bytes = file.try_clone().ok().and_then(opened);
    let image = bytes.and_then(|bytes| Image::parse(bytes).ok());
    let found = image.as_ref().and_then(Image::build_id);
    found.is_some_and(|found| found.to_string() == build_id)
}
