use crate::hot;
use crate::id::Handle;
use crate::interner::Interner;
use crate::stack::Stacks;
use crate::strings::Strings;
use crate::times::{Groups, own_weights};
use crate::{
    Frame, FrameId, Hot, LeafToRoot, LossReason, Losses, Meta, Process, ProcessId, Run, Sample,
    Stack, StackId, StringId, Thread, ThreadId, Times,
};

/// A recording, or as much of it as there is so far.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What is known besides the samples.
    pub meta: Meta,
    strings: Strings,
    frames: Interner<FrameId, Frame>,
    stacks: Stacks,
    processes: Vec<Process>,
    threads: Vec<Thread>,
    /// The samples of each thread, in the order of `threads`.
    runs: Vec<Vec<Run>>,
    samples: u64,
    weight_ns: u64,
    losses: Losses,
    ticks: u64,
    missed: u64,
}

impl Profile {
    /// A profile without samples.
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            strings: Strings::default(),
            frames: Interner::default(),
            stacks: Stacks::default(),
            processes: Vec::new(),
            threads: Vec::new(),
            runs: Vec::new(),
            samples: 0,
            weight_ns: 0,
            losses: Losses::default(),
            ticks: 0,
            missed: 0,
        }
    }

    /// Takes what there is so far; what comes goes into an empty profile with the same
    /// [`meta`](Self::meta). Handles from before are not valid in that.
    pub fn take(&mut self) -> Self {
        let next = Self::new(self.meta.clone());
        std::mem::replace(self, next)
    }

    /// The handle of `string`, which is stored if it is new.
    pub fn intern_string(&mut self, string: &str) -> StringId {
        self.strings.intern(string)
    }

    /// The string behind a handle.
    pub fn string(&self, id: StringId) -> &str {
        self.strings.get(id)
    }

    /// The handle of `frame`, which is stored if it is new.
    pub fn intern_frame(&mut self, frame: Frame) -> FrameId {
        self.frames.intern(frame)
    }

    /// Puts others in the place of frames, the outermost first: of machine code more
    /// may become known late, inlined functions as well. For no frames the old one
    /// stays. Handles of frames and stacks from before are not valid any more.
    pub fn replace_frames(&mut self, mut replace: impl FnMut(&mut Self, Frame) -> Vec<Frame>) {
        let frames = std::mem::take(&mut self.frames);
        let mut replaced = Vec::with_capacity(frames.items().len());
        for frame in frames.items() {
            let mut others = replace(self, *frame);
            if others.is_empty() {
                others.push(*frame);
            }
            let ids = others.into_iter().map(|frame| self.intern_frame(frame));
            replaced.push(ids.collect::<Vec<_>>());
        }
        let stacks = std::mem::take(&mut self.stacks);
        let mut moved: Vec<StackId> = Vec::with_capacity(stacks.items().len());
        for stack in stacks.items() {
            let mut at = stack.parent.map(|parent| moved[parent.to_index()]);
            for frame in &replaced[stack.frame.to_index()] {
                at = Some(self.intern_stack(at, *frame));
            }
            moved.extend(at);
        }
        for run in self.runs.iter_mut().flatten() {
            run.stack = moved[run.stack.to_index()];
        }
    }

    /// The frame behind a handle.
    pub fn frame(&self, id: FrameId) -> &Frame {
        self.frames.get(id)
    }

    /// All frames with their handles, in the order of first appearance.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (FrameId, &Frame)> {
        let frames = self.frames.items().iter().enumerate();
        frames.map(|(i, frame)| (FrameId::from_index(i), frame))
    }

    /// The stack in which `frame` was called from `parent`, or is the outermost.
    pub fn intern_stack(&mut self, parent: Option<StackId>, frame: FrameId) -> StackId {
        self.stacks.intern(Stack { parent, frame })
    }

    /// The stack of these frames, the outermost first; `None` if there are none.
    pub fn intern_frames(&mut self, frames: impl IntoIterator<Item = FrameId>) -> Option<StackId> {
        let mut stack = None;
        for frame in frames {
            stack = Some(self.intern_stack(stack, frame));
        }
        stack
    }

    /// A stack's innermost frame and its caller.
    pub fn stack(&self, id: StackId) -> Stack {
        self.stacks.get(id)
    }

    /// How many frames a stack has; at least 1.
    pub fn depth(&self, id: StackId) -> u32 {
        self.stacks.depth(id)
    }

    /// All stacks with their handles, a parent always before its children.
    pub fn stacks(&self) -> impl ExactSizeIterator<Item = (StackId, Stack)> {
        let stacks = self.stacks.items().iter().enumerate();
        stacks.map(|(i, stack)| (StackId::from_index(i), *stack))
    }

    /// The frames of a stack from the innermost to the outermost.
    pub fn leaf_to_root(&self, id: StackId) -> LeafToRoot<'_> {
        LeafToRoot::new(&self.stacks, id)
    }

    /// Adds a process; the same PID twice makes two.
    pub fn add_process(&mut self, process: Process) -> ProcessId {
        let id = ProcessId::from_index(self.processes.len());
        self.processes.push(process);
        id
    }

    /// The process behind a handle.
    pub fn process(&self, id: ProcessId) -> &Process {
        &self.processes[id.to_index()]
    }

    /// All processes with their handles, in the order they were added.
    pub fn processes(&self) -> impl ExactSizeIterator<Item = (ProcessId, &Process)> {
        let processes = self.processes.iter().enumerate();
        processes.map(|(i, process)| (ProcessId::from_index(i), process))
    }

    /// Gives a process another name: it may choose one, or run another program.
    pub fn rename_process(&mut self, id: ProcessId, name: &str) {
        name.clone_into(&mut self.processes[id.to_index()].name);
    }

    /// Adds a thread; the same thread id twice makes two.
    pub fn add_thread(&mut self, thread: Thread) -> ThreadId {
        let id = ThreadId::from_index(self.threads.len());
        self.threads.push(thread);
        self.runs.push(Vec::new());
        id
    }

    /// The thread behind a handle.
    pub fn thread(&self, id: ThreadId) -> &Thread {
        &self.threads[id.to_index()]
    }

    /// All threads with their handles, in the order they were added.
    pub fn threads(&self) -> impl ExactSizeIterator<Item = (ThreadId, &Thread)> {
        let threads = self.threads.iter().enumerate();
        threads.map(|(i, thread)| (ThreadId::from_index(i), thread))
    }

    /// Gives a thread another name: threads often get theirs after they started.
    pub fn rename_thread(&mut self, id: ThreadId, name: &str) {
        name.clone_into(&mut self.threads[id.to_index()].name);
    }

    /// Adds a sample. One that equals the last of its thread in all but time
    /// and weight costs no memory.
    pub fn add_sample(&mut self, sample: Sample) {
        self.samples = self.samples.saturating_add(1);
        self.weight_ns = self.weight_ns.saturating_add(sample.weight_ns);
        let runs = &mut self.runs[sample.thread.to_index()];
        if !runs.last_mut().is_some_and(|run| run.extend(&sample)) {
            runs.push(Run::new(&sample));
        }
    }

    /// The samples of one thread in the order they were added.
    pub fn runs(&self, thread: ThreadId) -> &[Run] {
        &self.runs[thread.to_index()]
    }

    /// The samples of every thread, thread by thread.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = (ThreadId, &[Run])> {
        let runs = self.runs.iter().enumerate();
        runs.map(|(i, runs)| (ThreadId::from_index(i), runs.as_slice()))
    }

    /// How many samples were added.
    pub const fn sample_count(&self) -> u64 {
        self.samples
    }

    /// The time all samples stand for, in nanoseconds, summed over threads.
    pub const fn weight_ns(&self) -> u64 {
        self.weight_ns
    }

    /// Counts `n` samples that were due and could not be had.
    pub fn lose(&mut self, reason: LossReason, n: u64) {
        self.losses.add(reason, n);
    }

    /// The samples that could not be had, by reason.
    pub const fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Counts one tick at which the target was looked at, whatever came of it.
    pub fn tick(&mut self) {
        self.ticks = self.ticks.saturating_add(1);
    }

    /// How many ticks there were.
    pub const fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Counts `n` ticks that were due but skipped because the profiler was late.
    pub fn miss(&mut self, n: u64) {
        self.missed = self.missed.saturating_add(n);
    }

    /// How many ticks were skipped.
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// The `n` functions with the most time of their own, the hottest first.
    /// Takes time proportional to the number of stacks and runs.
    pub fn hottest(&self, n: usize) -> Vec<Hot> {
        hot::hottest(self, n)
    }

    /// The time spent in each group of frames, those for which `key` is the same:
    /// [`Frame::function`] for functions. In the order of first appearance.
    /// Takes time proportional to the number of stacks and runs.
    pub fn times(&self, key: impl Fn(Frame) -> Frame) -> Vec<Times> {
        Groups::of(self, &own_weights(self), key).times
    }

    /// The memory the profile holds, in bytes, about.
    pub fn memory_estimate(&self) -> usize {
        let runs = self.runs.iter().map(|r| r.capacity() * size_of::<Run>());
        let names = self.threads.iter().map(|t| t.name.capacity());
        let titles = self.processes.iter().map(|p| p.name.capacity());
        size_of::<Self>()
            + self.strings.heap_bytes()
            + self.frames.heap_bytes()
            + self.stacks.heap_bytes()
            + self.processes.capacity() * size_of::<Process>()
            + self.threads.capacity() * size_of::<Thread>()
            + self.runs.capacity() * size_of::<Vec<Run>>()
            + runs.chain(names).chain(titles).sum::<usize>()
    }
}
