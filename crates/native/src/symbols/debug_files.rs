use std::path::Path;
use std::sync::Arc;

use super::candidate::{self, Candidate, DebugPlaces, Proof, Root};
use crate::image::{Image, ObjectBytes, SectionName};
use crate::modules::Objects;

/// The files that an object's debug information is in.
#[derive(Clone, Debug)]
pub(super) struct DebugFiles {
    /// The object itself, or a file apart.
    pub(super) main: Arc<Image>,
    /// What `dwz` moved to a file shared with other objects.
    pub(super) supplement: Option<Arc<Image>>,
}

impl DebugFiles {
    /// Finds them for an object that lies at `path` in the target; `None` if
    /// there is no debug information to be had.
    pub(super) fn find(
        object: &Arc<Image>,
        path: &Path,
        places: &DebugPlaces,
        objects: &dyn Objects,
    ) -> Option<Self> {
        let (main, path, root) = if object.has(SectionName::DebugInfo) {
            (Arc::clone(object), path.to_owned(), Root::Target)
        } else {
            let candidates = candidate::debug_files(object, path, places);
            let (candidate, image) = first(&candidates, objects)?;
            (image, candidate.path.clone(), candidate.root)
        };
        let candidates = candidate::supplements(&main, &path, root, places);
        let supplement = first(&candidates, objects).map(|(_, image)| image);
        Some(Self { main, supplement })
    }
}

/// The first candidate that is there and shows that it is right.
fn first<'a>(
    candidates: &'a [Candidate],
    objects: &dyn Objects,
) -> Option<(&'a Candidate, Arc<Image>)> {
    candidates.iter().find_map(|candidate| {
        let bytes = objects.debug_file(candidate)?;
        if let Proof::Crc(expected) = candidate.proof
            && crc(&bytes) != Some(expected)
        {
            return None;
        }
        let image = Image::parse(bytes).ok()?;
        if let Proof::BuildId(expected) = &candidate.proof
            && image.build_id() != Some(expected)
        {
            return None;
        }
        Some((candidate, Arc::new(image)))
    })
}

fn crc(bytes: &ObjectBytes) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let whole = bytes.each_piece(|piece| hasher.update(piece));
    whole.then(|| hasher.finalize())
}
