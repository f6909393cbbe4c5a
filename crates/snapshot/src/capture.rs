use std::collections::HashSet;
use std::fmt;

use firefinch_cpython::{Image, ImageFiles, Motion, ReadSeek};
use firefinch_memory::{Memory, Recording, RemoteAddr, Snapshot};

use crate::blank::blank;
use crate::file::{OpenCaptured, RecordingFiles};
use crate::{CapturedFile, Observation, ObserveError, Source, observe};

/// One moment of a process, as far as decoding it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// The machine it ran on, as `uname -m` says it.
    pub architecture: String,
    /// What was decoded when it was made.
    pub expected: Observation,
    /// The numbers of the process's threads, in its own PID namespace.
    pub native_ids: Vec<u64>,
    /// What may hold the interpreter, likeliest first.
    pub images: Vec<CapturedImage>,
    /// The memory that was read.
    pub memory: Snapshot,
}

/// A file mapped into the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapturedImage {
    /// Where its offset 0 is mapped.
    pub base: RemoteAddr,
    /// Its name without a path.
    pub name: String,
    /// What was read of the file itself, if it was opened.
    pub file: Option<CapturedFile>,
}

/// Why no capture could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// Nothing could be decoded.
    Observe(ObserveError),
    /// A stack could not be had.
    Stack(String),
    /// Memory changed meanwhile; worth another try.
    Moved,
    /// What was recorded does not decode to what was seen; a defect.
    Incomplete,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observe(e) => e.fmt(f),
            Self::Stack(reason) => f.write_str(reason),
            Self::Moved => f.write_str("the process changed while it was read"),
            Self::Incomplete => f.write_str("what was recorded does not decode to what was seen"),
        }
    }
}

impl std::error::Error for CaptureError {}

/// A moving thread's newest frame may be told from another side at each look;
/// two looks take both turns.
const LOOKS: usize = 2;

/// What both ways to read stacks give.
#[derive(Debug, PartialEq, Eq)]
struct Views {
    stopped: Observation,
    running: Observation,
}

impl Views {
    fn of(source: &Source<'_>) -> Result<Self, ObserveError> {
        Ok(Self {
            stopped: observe(source, Motion::Stopped, 1)?,
            running: observe(source, Motion::Running, LOOKS)?,
        })
    }
}

/// What decoding a process read, as it was read.
#[derive(Debug)]
pub struct Recorded {
    /// Without memory.
    capture: Capture,
    followed: Snapshot,
    searched: Snapshot,
    views: Views,
}

impl Recorded {
    /// Decodes a process, with stacks both as of stopped and as of running
    /// threads, and keeps what that reads. Nothing in the process should move
    /// meanwhile.
    ///
    /// # Errors
    /// [`CaptureError`]; `Moved` is worth another try.
    pub fn of(
        memory: &dyn Memory,
        images: &[Image],
        files: &dyn ImageFiles,
        native_ids: &HashSet<u64>,
    ) -> Result<Self, CaptureError> {
        let (followed, searched) = (Recording::new(memory), Recording::new(memory));
        let files = RecordingFiles::new(files);
        let source = Source {
            memory: &followed,
            searched: &searched,
            images,
            files: &files,
            native_ids,
        };
        let views = Views::of(&source).map_err(CaptureError::Observe)?;
        let followed = followed.into_snapshot();
        if !is_still(memory, &followed) {
            return Err(CaptureError::Moved);
        }
        for thread in &views.stopped.threads {
            if let Some(Err(reason)) = thread.looks.first() {
                return Err(CaptureError::Stack(reason.clone()));
            }
        }
        let image = |image: &Image| CapturedImage {
            base: image.base,
            name: image.name.clone(),
            file: files.captured(image.base),
        };
        let mut native_ids: Vec<_> = native_ids.iter().copied().collect();
        native_ids.sort_unstable();
        let capture = Capture {
            architecture: std::env::consts::ARCH.to_owned(),
            expected: views.stopped.clone(),
            native_ids,
            images: images.iter().map(image).collect(),
            memory: Snapshot::new(),
        };
        Ok(Self {
            capture,
            followed,
            searched: searched.into_snapshot(),
            views,
        })
    }

    /// Leaves out what was searched in vain. Takes some dozens of times as long
    /// as decoding, so the process should run on by now.
    ///
    /// # Errors
    /// [`CaptureError::Incomplete`] if what is left does not decode to what was seen.
    pub fn reduced(self) -> Result<Capture, CaptureError> {
        let Self {
            mut capture,
            followed,
            mut searched,
            views,
        } = self;
        let layered = |searched: &Snapshot| {
            let mut memory = searched.clone();
            memory.extend(followed.segments().map(|(a, b)| (a, b.to_vec())));
            memory
        };
        let mut trial = capture.clone();
        blank(&mut searched, |searched| {
            trial.memory = layered(searched);
            trial.shows(&views)
        });
        capture.memory = layered(&searched);
        for index in 0..capture.images.len() {
            let Some(mut file) = capture.images[index].file.take() else {
                continue;
            };
            let mut trial = capture.clone();
            let len = file.len;
            blank(&mut file.parts, |parts| {
                let parts = parts.clone();
                trial.images[index].file = Some(CapturedFile { len, parts });
                trial.shows(&views)
            });
            capture.images[index].file = Some(file);
        }
        // Where a search ends early, much is not read any more.
        let (memory, files) = (
            Recording::new(&capture.memory),
            RecordingFiles::new(&capture),
        );
        let seen = capture.views_of(&memory, &files);
        let parts = |image: &CapturedImage| files.captured(image.base);
        let parts: Vec<_> = capture.images.iter().map(parts).collect();
        let memory = memory.into_snapshot();
        capture.memory = memory;
        for (image, file) in capture.images.iter_mut().zip(parts) {
            image.file = file;
        }
        match seen.as_ref() == Ok(&views) && capture.shows(&views) {
            true => Ok(capture),
            false => Err(CaptureError::Incomplete),
        }
    }
}

impl Capture {
    fn shows(&self, views: &Views) -> bool {
        self.views_of(&self.memory, self).as_ref() == Ok(views)
    }

    fn views_of(&self, memory: &dyn Memory, files: &dyn ImageFiles) -> Result<Views, ObserveError> {
        self.with_source(memory, files, Views::of)
    }

    /// Decodes what it holds, each stack `looks` times.
    ///
    /// # Errors
    /// As [`observe`](crate::observe()).
    pub fn observe(&self, motion: Motion, looks: usize) -> Result<Observation, ObserveError> {
        self.with_source(&self.memory, self, |source| observe(source, motion, looks))
    }

    /// The images, as [`find`](firefinch_cpython::find) wants them; `self`
    /// opens their files.
    pub fn images(&self) -> Vec<Image> {
        let image = |image: &CapturedImage| Image {
            base: image.base,
            name: image.name.clone(),
        };
        self.images.iter().map(image).collect()
    }

    fn with_source<T>(
        &self,
        memory: &dyn Memory,
        files: &dyn ImageFiles,
        decode: impl FnOnce(&Source<'_>) -> T,
    ) -> T {
        decode(&Source {
            memory,
            searched: memory,
            images: &self.images(),
            files,
            native_ids: &self.native_ids.iter().copied().collect(),
        })
    }
}

impl ImageFiles for Capture {
    fn open(&self, image: &Image) -> Option<Box<dyn ReadSeek>> {
        let captured = self.images.iter().find(|i| i.base == image.base)?;
        Some(Box::new(OpenCaptured::new(captured.file.clone()?)))
    }
}

/// Whether memory still is what it was when it was recorded.
fn is_still(memory: &dyn Memory, recorded: &Snapshot) -> bool {
    recorded.segments().all(|(addr, bytes)| {
        let mut now = vec![0; bytes.len()];
        memory.read(addr, &mut now).is_ok() && now == bytes
    })
}
