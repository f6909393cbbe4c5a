use std::fmt;
use std::sync::Arc;

/// The bytes of an object file: a memory mapping, or a copy; shared.
#[derive(Clone)]
pub struct ObjectBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl ObjectBytes {
    /// Wraps whatever holds the bytes.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }

    /// The bytes.
    pub fn get(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for ObjectBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectBytes({} bytes)", self.get().len())
    }
}
