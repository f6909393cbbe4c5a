//! Native stacks of a live process: captured, unwound, named.
//!
//! A [`Capture`] holds the registers and a copy of the stack of one thread, of
//! one moment. [`Native`] turns it into [`NativeFrame`]s when the thread has
//! long gone on.

mod areas;
mod capture;
mod debug_files;
mod frame;
mod jit;
mod machine;
mod map;
mod merge;
mod names;
mod objects;
mod off_stack;
mod quality;
mod role;
mod with_stack;

pub use firefinch_native::{Library, Origin};

pub use capture::{Capture, CaptureError};
pub use debug_files::{Nameless, debuginfod_cache, is_debug_file};
pub use frame::{NativeFrame, NativePlace, NativeStack};
pub use merge::{Activation, Merge, Merged, merge};
pub use quality::{Cut, Missing, Quality};
pub use role::Role;

use std::sync::Arc;

use firefinch_cpython::Version;
use firefinch_memory::RemoteAddr;
use firefinch_native::{Frame, Limits, Outcome, StackCopy, Status, Truncation, Unwinder};
use firefinch_process::{AccessError, Activity, Process, ProcessMemory, Thread, Tid};
use hashbrown::HashMap;

use self::capture::{Content, Expected, MAX_COPY};
use self::machine::ARCH;
use self::map::{Change, Map};
use self::names::Names;
use self::off_stack::OffStack;
use crate::fold::Shown;
use crate::named_later::NamedLater;

/// What is known of the machine code of one program: its modules, how to
/// unwind them, their names. An exec makes another program of a process.
#[derive(Debug)]
pub struct Native {
    process: Arc<Process>,
    memory: Arc<ProcessMemory>,
    map: Map,
    unwinder: Unwinder,
    names: Names,
    interpreter: Option<(RemoteAddr, Version)>,
    expected: HashMap<Tid, Expected>,
    /// For captures to come.
    buffers: Vec<Vec<u8>>,
    frames: Vec<Frame>,
    quality: Quality,
}

/// Threads whose stack's end is kept; there may come and go any number.
const MAX_EXPECTED: usize = 65_536;

/// Captures in use at the same time: one, or one for each stop that lasts.
const MAX_BUFFERS: usize = 4;

/// Above the newest address that the root's frame was found by.
const SLACK: u64 = 512;

impl Native {
    /// For the program that runs in the process now, with its memory. Opens
    /// none of its files yet; those that are in the library are not read again.
    ///
    /// # Errors
    /// [`AccessError`] if its mappings cannot be read.
    pub fn new(
        process: &Arc<Process>,
        memory: &Arc<ProcessMemory>,
        library: &Arc<Library>,
    ) -> Result<Self, AccessError> {
        let map = Map::read(process, memory, library)?;
        Ok(Self {
            process: Arc::clone(process),
            memory: Arc::clone(memory),
            unwinder: Unwinder::new(map.modules.clone(), Limits::default()),
            map,
            names: Names::new(),
            interpreter: None,
            expected: HashMap::new(),
            buffers: Vec::new(),
            frames: Vec::new(),
            quality: Quality::default(),
        })
    }

    /// Says where the interpreter is, by any address of its data or code
    /// (`Runtime::location`), and which it is: only functions there have a role
    /// but [`Role::Other`] and, what starts threads, [`Role::Startup`].
    pub fn set_interpreter(&mut self, addr: RemoteAddr, version: Version) {
        self.interpreter = Some((addr, version));
        let origin = self.map.file_of(addr).cloned();
        self.names
            .set_interpreter(origin.map(|origin| (origin, version)));
    }

    /// Says which frames are going to be shown: of the others names may be all
    /// that is known.
    pub fn show(&mut self, shown: Shown) {
        self.names.show(shown);
    }

    /// An empty capture for a thread, which knows how much of this thread's
    /// stack was in use last time. Memory is reused: give every capture back,
    /// by [`stack`](Self::stack) or [`recycle`](Self::recycle).
    pub fn capture(&mut self, tid: Tid) -> Capture {
        let expected = self.expected.get(&tid).copied();
        let buffer = self.buffers.pop().unwrap_or_default();
        Capture::new(tid, &self.map.areas, expected, buffer)
    }

    /// Takes back a capture that is not wanted.
    pub fn recycle(&mut self, capture: Capture) {
        if self.buffers.len() < MAX_BUFFERS {
            self.buffers.push(capture.into_buffer());
        }
    }

    /// Captures a thread that waits, without stopping it. `also` reads what
    /// belongs to the same moment. `None` if the thread did not stand still
    /// from before the capture was made until after `also` was done.
    ///
    /// The argument is that of [`Watch`](firefinch_process::Watch): figures
    /// that were read before the thread was seen to wait, and are the same
    /// afterwards, prove that it was not given a CPU in between.
    pub fn capture_blocked<T>(
        &mut self,
        thread: &Thread,
        also: impl FnOnce() -> T,
    ) -> Option<(Capture, T)> {
        let figures = thread.schedstat().ok();
        let Ok(Activity::Waiting(syscall)) = thread.activity() else {
            return None;
        };
        let mut capture = self.capture(thread.tid());
        let memory = Arc::clone(&self.memory);
        if capture.fill_blocked(&syscall, &*memory).is_err() {
            self.recycle(capture);
            return None;
        }
        let also = also();
        let still = match figures.filter(|figures| figures.timeslices > 0) {
            Some(figures) => thread.schedstat().is_ok_and(|now| now == figures),
            // A kernel without figures: the same call at the same place has
            // to do.
            None => thread
                .activity()
                .is_ok_and(|now| now == Activity::Waiting(syscall)),
        };
        if !still {
            self.recycle(capture);
            return None;
        }
        Some((capture, also))
    }

    /// Unwinds and names what was captured; `None` if that is nothing.
    pub fn stack(&mut self, capture: Capture) -> Option<NativeStack> {
        let change = self.map.refresh();
        self.follow(change);
        let stack = self.unwind(&capture);
        self.recycle(capture);
        stack
    }

    /// How good all stacks were so far.
    pub fn quality(&self) -> &Quality {
        &self.quality
    }

    /// Counts anew.
    pub fn forget_quality(&mut self) {
        self.quality = Quality::default();
    }

    /// The build id of an object that is mapped, if it has one.
    pub fn build_id(&self, origin: &Origin) -> Option<String> {
        let modules = &self.map.modules;
        let image = modules.module(origin)?.image(modules.objects(), ARCH);
        Some(image.ok()?.build_id()?.to_string())
    }

    /// Has places without a name tell their address, so that what becomes known of
    /// them later can be told apart.
    pub fn keep_addresses(&mut self, keep: bool) {
        self.names.keep_addresses(keep);
    }

    /// Looks for names once more, where debug information may have come to be.
    pub fn name_again(&mut self) -> NamedLater {
        self.names.name_again(&self.map)
    }

    /// Why names that are there for code made at run time are not taken, if so.
    pub fn names_refused(&self) -> Option<&str> {
        self.names.refused()
    }

    fn unwind(&mut self, capture: &Capture) -> Option<NativeStack> {
        let (content, copy) = capture.content()?;
        let mut outcome = self.frames_of(content, copy);
        let strange = matches!(outcome.status, Status::Truncated(Truncation::NotCode(_)));
        if strange || content.area.is_none() {
            let change = self.map.look_again();
            self.follow(change);
            if strange && change != Change::None {
                outcome = self.frames_of(content, copy);
            }
        }
        self.learn(capture.tid(), content, &outcome);
        let frames = self.name();
        let end = copy.start.offset(copy.bytes.len() as u64);
        self.quality.count(&frames, &outcome, end);
        Some(NativeStack { frames, outcome })
    }

    fn frames_of(&mut self, content: &Content, copy: StackCopy<'_>) -> Outcome {
        let off_stack = OffStack::new(&*self.memory, content);
        let (pc, registers) = (content.pc, &content.registers);
        self.unwinder
            .unwind(pc, registers, copy, &off_stack, &mut self.frames)
    }

    /// What was mapped or unmapped is taken over.
    fn follow(&mut self, change: Change) {
        match change {
            Change::None => return,
            Change::More => self.unwinder.add_modules(self.map.modules.clone()),
            Change::Other => {
                self.unwinder.set_modules(self.map.modules.clone());
                self.names.forget(&self.map);
            }
        }
        if let Some((addr, version)) = self.interpreter {
            self.set_interpreter(addr, version);
        }
    }

    /// Remembers where the thread's stack ends.
    fn learn(&mut self, tid: Tid, content: &Content, outcome: &Outcome) {
        let copied = content.start.offset(content.len as u64);
        let expected = content.area.and_then(|area| {
            let root = self.frames.last()?.sp;
            let (end, is_root) = match outcome.status {
                Status::Rooted if (content.start..area.end).contains(&root) => {
                    (root.offset(SLACK).min(area.end), true)
                }
                Status::Truncated(Truncation::MemoryMissing(addr))
                    if addr.offset(8) > copied && addr < content.start.offset(MAX_COPY) =>
                {
                    (area.end, false)
                }
                _ => return None,
            };
            let expected = Expected {
                area_end: area.end,
                end,
                is_root,
            };
            Some(expected.after(self.expected.get(&tid).copied()))
        });
        // One that ended for another reason says nothing.
        if let Some(expected) = expected {
            if self.expected.len() >= MAX_EXPECTED {
                self.expected.clear();
            }
            self.expected.insert(tid, expected);
        }
    }

    fn name(&mut self) -> Vec<NativeFrame> {
        let callers = self.frames.iter().skip(1).map(|frame| Some(frame.sp));
        let callers = callers.chain([None]);
        self.frames
            .iter()
            .zip(callers)
            .map(|(frame, caller_sp)| NativeFrame {
                address: frame.address,
                sp: frame.sp,
                caller_sp,
                via: frame.via,
                place: self
                    .names
                    .place(frame.address.lookup(), &self.map, &self.process),
            })
            .collect()
    }
}
