use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::image::{FileIdentity, ImageError, ObjectBytes};
use crate::modules::Objects;
use crate::object_file::ObjectFile;

/// The object files that several targets have mapped: what is found in one of
/// them is found once, and forgotten with its last user.
///
/// Only files with a [`FileIdentity`] are shared: a path, or the numbers that a
/// target's mappings show, may mean different files to different targets.
#[derive(Debug, Default)]
pub struct Library(Mutex<HashMap<FileIdentity, Weak<ObjectFile>>>);

/// The file with these bytes, shared if the objects are.
///
/// # Errors
/// [`ImageError::NotElf`].
pub(crate) fn open(
    objects: &dyn Objects,
    bytes: ObjectBytes,
) -> Result<Arc<ObjectFile>, ImageError> {
    match (objects.library(), bytes.identity()) {
        (Some(library), Some(identity)) => library.open(identity, bytes),
        _ => ObjectFile::parse(bytes),
    }
}

impl Library {
    fn open(
        &self,
        identity: FileIdentity,
        bytes: ObjectBytes,
    ) -> Result<Arc<ObjectFile>, ImageError> {
        if let Some(known) = self.files().get(&identity).and_then(Weak::upgrade) {
            return Ok(known);
        }
        // Whoever keeps this read waiting keeps nobody else waiting.
        let new = ObjectFile::parse(bytes)?;
        let mut files = self.files();
        if let Some(known) = files.get(&identity).and_then(Weak::upgrade) {
            return Ok(known);
        }
        if files.len() == files.capacity() {
            files.retain(|_, file| file.strong_count() > 0);
        }
        files.insert(identity, Arc::downgrade(&new));
        Ok(new)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<FileIdentity, Weak<ObjectFile>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
