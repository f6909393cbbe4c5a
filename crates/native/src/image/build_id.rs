use std::fmt;

/// What a linker stamped an object file with: equal for equal files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(Box<[u8]>);

/// The longest believed; linkers write 8 to 20 bytes, or what they are told to.
const MAX: usize = 64;

impl BuildId {
    /// A build id with these bytes, 2 to 64 of them: a directory of debug files
    /// needs one byte for the directory and one for the file.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (2..=MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}
