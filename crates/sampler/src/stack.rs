use std::sync::Arc;

use firefinch_cpython::{CodeCache, CodeError, CodeObject, Leaf, Place, RawStack, Resolved};
use firefinch_memory::Memory;
use firefinch_native::Symbol;
use firefinch_process::Process;

use crate::fold::Shown;
use crate::merged::{MergedFrame, MergedStack, Runs};
use crate::native::{NativePlace, NativeStack};
use crate::paths::ShortPaths;
use crate::unproved::UnprovedStack;

/// A thread's stack as it is now, and how much of it is as it was before.
#[derive(Debug)]
pub struct Stack<'a> {
    pub(crate) unchanged: usize,
    pub(crate) holds_gil: Option<bool>,
    pub(crate) frames: Frames<'a>,
    /// There are no Python frames without an interpreter, which has these.
    pub(crate) paths: Option<&'a mut ShortPaths>,
    pub(crate) process: &'a Arc<Process>,
}

/// That a thread's stack was read, of which more is known until the next time.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub(crate) index: usize,
    /// How many of the oldest frames are as before; not more than there are.
    pub(crate) unchanged: usize,
    /// Its newest frame, for which [looks may wait](crate::Lost::waits_for).
    pub(crate) leaf: Option<Leaf>,
}

/// The frames of a stack, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frames<'a> {
    Python(&'a [Place]),
    Merged(&'a [MergedFrame]),
}

/// Where one frame stands.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// In Python code.
    Python(&'a Place),
    /// In machine code: the address, and which of the functions there.
    Native(&'a Arc<NativePlace>, usize),
}

/// One frame of a stack, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A Python frame.
    Python {
        /// The function.
        code: Arc<CodeObject>,
        /// The line, or `None` at an instruction that belongs to none.
        line: Option<u32>,
        /// The file name as people write it.
        short_file: Arc<str>,
    },
    /// A native frame.
    Native {
        /// The function.
        symbol: Symbol,
        /// The name of its source file.
        short_file: Option<Arc<str>>,
        /// The object it is in.
        module: Arc<str>,
    },
}

impl<'a> Frames<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Python(places) => places.len(),
            Self::Merged(frames) => frames.len(),
        }
    }

    fn get(&self, at: usize) -> Option<Standing<'a>> {
        Some(match self {
            Self::Python(places) => Standing::Python(places.get(at)?),
            Self::Merged(frames) => match frames.get(at)? {
                MergedFrame::Python(place) => Standing::Python(place),
                MergedFrame::Native(place, function) => Standing::Native(place, *function),
            },
        })
    }
}

impl<'a> Stack<'a> {
    /// How many of the oldest frames are as they were when this thread's stack
    /// was last had: the same code objects at the same lines, the same
    /// addresses.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// Whether the thread held its interpreter's lock, where its state says so.
    pub fn holds_gil(&self) -> Option<bool> {
        self.holds_gil
    }

    /// How many frames it has: none when the thread runs no Python and native
    /// frames are not wanted.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it has no frames.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a frame stands, counted from the oldest.
    pub fn get(&self, at: usize) -> Option<Standing<'a>> {
        self.frames.get(at)
    }

    /// The file name of `code` as people write it.
    pub fn short_file(&mut self, code: &CodeObject) -> Arc<str> {
        match &mut self.paths {
            Some(paths) => paths.shorten(&code.filename, self.process),
            None => Arc::clone(&code.filename),
        }
    }

    /// All frames for a person to read, newest first.
    pub fn into_frames(mut self) -> Vec<Frame> {
        let frames = (0..self.len()).rev().filter_map(|at| {
            Some(match self.get(at)? {
                Standing::Python(place) => Frame::Python {
                    code: Arc::clone(&place.code),
                    line: place.line,
                    short_file: self.short_file(&place.code),
                },
                Standing::Native(place, function) => {
                    let symbol = place.symbols.get(function)?.clone();
                    Frame::Native {
                        short_file: symbol.file.as_deref().map(|file| short_source(file).into()),
                        symbol,
                        module: Arc::clone(&place.module),
                    }
                }
            })
        });
        frames.collect()
    }
}

/// A source file as people call it: the path is that of whoever built it.
pub(crate) fn short_source(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// What a thread's stack was when it was last had.
#[derive(Debug, Default)]
pub(crate) struct KnownStack {
    resolved: Resolved,
    merged: MergedStack,
    /// Whether native frames could be had with the Python ones.
    is_merged: bool,
    pub(crate) holds_gil: Option<bool>,
    /// Its newest Python frame, for which looks may wait.
    pub(crate) leaf: Option<Leaf>,
    /// What was found instead of a stack, if that waits to be believed.
    pub(crate) unproved: Option<UnprovedStack>,
    /// The thread's rest in which it was read, which proves it as long as it
    /// lasts.
    pub(crate) rest: Option<u64>,
}

impl KnownStack {
    pub(crate) fn frames(&self) -> Frames<'_> {
        match self.is_merged {
            true => Frames::Merged(self.merged.frames()),
            false => Frames::Python(self.resolved.places()),
        }
    }

    /// Takes in what was read now: how many of the oldest frames are as before.
    pub(crate) fn update(
        &mut self,
        codes: &mut CodeCache,
        memory: &dyn Memory,
        stack: &RawStack,
    ) -> Result<usize, CodeError> {
        self.holds_gil = stack.holds_gil;
        self.leaf = stack.leaf;
        codes.update(memory, stack, &mut self.resolved)
    }

    /// Where each Python frame stands, oldest first.
    pub(crate) fn places(&self) -> &[Place] {
        self.resolved.places()
    }

    /// The merged stack, oldest first.
    pub(crate) fn merged(&self) -> &[MergedFrame] {
        self.merged.frames()
    }

    /// Merges a native stack with what it runs: how many of the oldest frames
    /// are as before, and whether some could not be matched.
    pub(crate) fn merge(
        &mut self,
        native: &NativeStack,
        runs: &Runs,
        shown: Shown,
        kernel: Option<&Arc<NativePlace>>,
    ) -> (usize, bool) {
        self.is_merged = true;
        self.merged.update(native, runs, shown, kernel)
    }

    /// There are no native frames this time: how many of the oldest frames are
    /// as before, which is not known.
    pub(crate) fn stand_alone(&mut self) -> usize {
        self.is_merged = false;
        self.merged = MergedStack::default();
        0
    }
}
