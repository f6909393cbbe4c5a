use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use super::budget::{Budget, Held};

/// The bytes of an object file, shared; of a large file only what is needed is
/// ever in memory.
#[derive(Clone)]
pub struct ObjectBytes {
    inner: Inner,
    identity: Option<FileIdentity>,
    budget: Budget,
}

/// A file in one of its states, as the kernel tells it from all others: equal
/// ones have equal bytes, whoever opened them by whatever path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The file system's number, as `fstat(2)` has it. What `/proc/PID/maps` shows
    /// may be another one, which several files have in common.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// When its bytes or anything else about it were last changed: seconds and
    /// nanoseconds.
    pub changed: (i64, i64),
}

#[derive(Clone)]
enum Inner {
    Held(Arc<dyn AsRef<[u8]> + Send + Sync>),
    Read {
        len: u64,
        source: Arc<dyn ObjectSource>,
    },
}

/// Reads an object file at any place.
pub trait ObjectSource: Send + Sync {
    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// Of any kind if not all of it can be read: the part is as good as not there.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// Part of an object file.
pub(crate) struct Part {
    kept: Kept,
    /// Of what the file may take, if it is a copy.
    _held: Option<Held>,
}

enum Kept {
    Held(Arc<dyn AsRef<[u8]> + Send + Sync>, Range<usize>),
    Copied(Box<[u8]>),
}

/// The longest part that is read: the debug information of a browser in one
/// section has about a gigabyte. A file may be longer than any memory, and
/// take no place on its disk.
const MAX_PART: u64 = 1 << 30;

impl ObjectBytes {
    /// Bytes that are held in memory.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self {
            inner: Inner::Held(Arc::new(bytes)),
            identity: None,
            budget: Budget::default(),
        }
    }

    /// A file of `len` bytes, read as it is needed. What was read is kept.
    pub fn read_from(len: u64, source: impl ObjectSource + 'static) -> Self {
        let source = Arc::new(source);
        Self {
            inner: Inner::Read { len, source },
            identity: None,
            budget: Budget::default(),
        }
    }

    /// The same, known to be those of this file: what is found in them holds for
    /// whatever else has the same identity.
    #[must_use]
    pub fn of_file(self, identity: FileIdentity) -> Self {
        Self {
            identity: Some(identity),
            ..self
        }
    }

    pub(crate) fn identity(&self) -> Option<FileIdentity> {
        self.identity
    }

    /// What copies of them may take.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        match &self.inner {
            Inner::Held(bytes) => (**bytes).as_ref().len() as u64,
            Inner::Read { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A part, `None` unless all of it can be had.
    pub(crate) fn part(&self, range: Range<u64>) -> Option<Part> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let size = Some(range.end - range.start).filter(|size| *size <= MAX_PART)?;
        Some(match &self.inner {
            Inner::Held(bytes) => {
                let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
                Part {
                    kept: Kept::Held(Arc::clone(bytes), range),
                    _held: None,
                }
            }
            Inner::Read { source, .. } => {
                let held = self.budget.take(size)?;
                let mut copy = vec![0; usize::try_from(size).ok()?];
                source.read_at(range.start, &mut copy).ok()?;
                Part::copied(copy, held)
            }
        })
    }

    /// A part that is read piece by piece and not kept, `None` unless it lies within.
    pub(crate) fn reader(&self, range: Range<u64>) -> Option<impl BufRead + Send + use<>> {
        let is_within = range.start <= range.end && range.end <= self.len();
        let rest = Rest {
            bytes: self.clone(),
            range,
        };
        is_within.then(|| BufReader::with_capacity(BUFFER, rest))
    }

    /// Calls `take` with all bytes, piece by piece; whether all could be had.
    pub fn each_piece(&self, mut take: impl FnMut(&[u8])) -> bool {
        const PIECE: u64 = 1 << 20;
        let mut at = 0;
        while at < self.len() {
            let end = self.len().min(at + PIECE);
            match self.part(at..end) {
                Some(piece) => take(piece.get()),
                None => return false,
            }
            at = end;
        }
        true
    }
}

/// What has not been read yet of a part.
struct Rest {
    bytes: ObjectBytes,
    range: Range<u64>,
}

/// Fits into the second level of most processors' caches.
const BUFFER: usize = 128 << 10;

impl Read for Rest {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.range.end - self.range.start;
        let count = usize::try_from(rest).map_or(buf.len(), |rest| rest.min(buf.len()));
        let buf = buf.get_mut(..count).unwrap_or_default();
        let end = self.range.start + count as u64;
        match &self.bytes.inner {
            Inner::Read { source, .. } => source.read_at(self.range.start, buf)?,
            Inner::Held(_) => {
                let part = self.bytes.part(self.range.start..end);
                let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
                buf.copy_from_slice(part.get());
            }
        }
        self.range.start = end;
        Ok(count)
    }
}

impl Part {
    /// What was read or unpacked, and what that takes.
    pub(crate) fn copied(bytes: Vec<u8>, held: Held) -> Self {
        Self {
            kept: Kept::Copied(bytes.into()),
            _held: Some(held),
        }
    }

    /// Its bytes.
    pub(crate) fn get(&self) -> &[u8] {
        match &self.kept {
            Kept::Held(bytes, range) => {
                let bytes = (**bytes).as_ref();
                bytes.get(range.clone()).unwrap_or_default()
            }
            Kept::Copied(bytes) => bytes,
        }
    }
}

impl fmt::Debug for ObjectBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectBytes({} bytes)", self.len())
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({} bytes)", self.get().len())
    }
}
