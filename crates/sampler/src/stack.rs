use std::sync::Arc;

use firefinch_cpython::{CodeCache, CodeError, CodeObject, Place, RawStack, Resolved};
use firefinch_memory::Memory;
use firefinch_process::Process;

use crate::paths::ShortPaths;

/// A thread's stack as it is now, and how much of it is as it was before.
#[derive(Debug)]
pub struct Stack<'a> {
    pub(crate) unchanged: usize,
    pub(crate) holds_gil: Option<bool>,
    pub(crate) places: &'a [Place],
    /// There are no places without an interpreter, which has these.
    pub(crate) paths: Option<&'a mut ShortPaths>,
    pub(crate) process: &'a Process,
}

/// One frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function.
    pub code: Arc<CodeObject>,
    /// The line, or `None` at an instruction that belongs to none.
    pub line: Option<u32>,
    /// The file name as people write it.
    pub short_file: Arc<str>,
}

impl Stack<'_> {
    /// How many of the oldest frames are as they were when this thread's stack
    /// was last had: the same code objects at the same lines.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// Whether the thread held its interpreter's lock, where its state says so.
    pub fn holds_gil(&self) -> Option<bool> {
        self.holds_gil
    }

    /// Where each frame stands, oldest first; empty when the thread runs no
    /// Python.
    pub fn places(&self) -> &[Place] {
        self.places
    }

    /// The file name of `code` as people write it.
    pub fn short_file(&mut self, code: &CodeObject) -> Arc<str> {
        let exists = |path: &std::path::Path| self.process.exists_in_root(path);
        match &mut self.paths {
            Some(paths) => paths.shorten(&code.filename, &exists),
            None => Arc::clone(&code.filename),
        }
    }

    /// All frames for a person to read, newest first.
    pub fn into_frames(mut self) -> Vec<Frame> {
        let places = self.places.iter().rev();
        places
            .map(|place| Frame {
                code: Arc::clone(&place.code),
                line: place.line,
                short_file: self.short_file(&place.code),
            })
            .collect()
    }
}

/// What a thread's stack was when it was last had.
#[derive(Debug, Default)]
pub(crate) struct KnownStack {
    resolved: Resolved,
    pub(crate) holds_gil: Option<bool>,
    /// The thread's rest in which it was read, which proves it as long as it
    /// lasts.
    pub(crate) rest: Option<u64>,
}

impl KnownStack {
    pub(crate) fn places(&self) -> &[Place] {
        self.resolved.places()
    }

    /// Takes in what was read now: how many of the oldest frames are as before.
    pub(crate) fn update(
        &mut self,
        codes: &mut CodeCache,
        memory: &dyn Memory,
        stack: &RawStack,
    ) -> Result<usize, CodeError> {
        self.holds_gil = stack.holds_gil;
        codes.update(memory, stack, &mut self.resolved)
    }
}
