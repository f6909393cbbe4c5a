use std::path::Path;
use std::sync::Arc;

use super::candidate::{self, Candidate, DebugPlaces, Proof, Root};
use crate::image::SectionName;
use crate::library;
use crate::modules::Objects;
use crate::object_file::ObjectFile;

/// The files that an object's debug information is in.
#[derive(Clone, Debug)]
pub(crate) struct DebugFiles {
    /// The object itself, or a file apart.
    pub(super) main: Arc<ObjectFile>,
    /// What `dwz` moved to a file shared with other objects.
    pub(super) supplement: Option<Arc<ObjectFile>>,
}

impl DebugFiles {
    /// Finds them for an object that lies at `path` in the target; `None` if
    /// there is no debug information to be had.
    pub(super) fn find(
        object: &Arc<ObjectFile>,
        path: &Path,
        places: &DebugPlaces,
        objects: &dyn Objects,
    ) -> Option<Self> {
        let (main, path, root) = if object.image().has(SectionName::DebugInfo) {
            (Arc::clone(object), path.to_owned(), Root::Target)
        } else {
            let (candidate, file) = other(object, path, places, objects)?;
            (file, candidate.path, candidate.root)
        };
        let candidates = candidate::supplements(main.image(), &path, root, places);
        let supplement = first(candidates, objects).map(|(_, file)| file);
        Some(Self { main, supplement })
    }

    /// The file that an object's debug information is in, if that is another one.
    pub(crate) fn apart(
        object: &ObjectFile,
        path: &Path,
        places: &DebugPlaces,
        objects: &dyn Objects,
    ) -> Option<Arc<ObjectFile>> {
        if object.image().has(SectionName::DebugInfo) {
            return None;
        }
        other(object, path, places, objects).map(|(_, file)| file)
    }
}

/// The file that debug information is in which the object itself does not have.
fn other(
    object: &ObjectFile,
    path: &Path,
    places: &DebugPlaces,
    objects: &dyn Objects,
) -> Option<(Candidate, Arc<ObjectFile>)> {
    let candidates = candidate::debug_files(object.image(), path, places);
    first(candidates, objects)
}

/// The first candidate that is there and shows that it is right.
fn first(
    candidates: Vec<Candidate>,
    objects: &dyn Objects,
) -> Option<(Candidate, Arc<ObjectFile>)> {
    candidates.into_iter().find_map(|candidate| {
        let bytes = objects.debug_file(&candidate)?;
        let file = library::open(objects, bytes).ok()?;
        let is_right = match &candidate.proof {
            Proof::Crc(expected) => file.crc() == Some(*expected),
            Proof::BuildId(expected) => file.image().build_id() == Some(expected),
        };
        is_right.then_some((candidate, file))
    })
}
