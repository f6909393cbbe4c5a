use firefinch_memory::{Memory, RemoteAddr};

use super::cache::Cache;
use super::cfi::Context;
use super::plan::plan;
use super::search;
use super::stack_memory::{Block, StackMemory};
use super::walk::Walk;
use super::{Frame, Outcome, StackCopy, Status, Truncation, Via};
use crate::address::{CodeAddress, InstructionPointer};
use crate::modules::Modules;
use crate::registers::Registers;

/// Unwinds stacks of one target.
#[derive(Debug)]
pub struct Unwinder {
    modules: Modules,
    limits: Limits,
    cache: Cache,
    context: Context,
    block: Block,
}

/// Bounds on one stack, as what it is made from may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most frames. One level of Python recursion takes up to some ten,
    /// and Python's own limit is 1,000 levels unless a program raises it.
    pub frames: u32,
    /// The most reads of memory beyond the copy of the stack, of 4 KB each.
    pub outside_reads: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frames: 16_384,
            outside_reads: 256,
        }
    }
}

impl Unwinder {
    /// An unwinder for the code of these modules.
    pub fn new(modules: Modules, limits: Limits) -> Self {
        Self {
            modules,
            limits,
            cache: Cache::new(),
            context: Context::new_in(),
            block: Block::new(),
        }
    }

    /// The modules.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The target has mapped or unmapped code.
    pub fn set_modules(&mut self, modules: Modules) {
        self.modules = modules;
        self.cache.clear();
    }

    /// The target has mapped more code; all that was mapped is as it was.
    pub fn add_modules(&mut self, modules: Modules) {
        self.modules = modules;
        self.cache.forget_missing();
    }

    /// Finds the frames of a thread from its registers, newest first, and puts
    /// them in place of what was in `frames`. The newest is there in any case.
    ///
    /// Unknown registers are no error until one is needed; of a blocked thread
    /// the instruction pointer and SP are often enough.
    pub fn unwind(
        &mut self,
        pc: InstructionPointer,
        registers: &Registers,
        stack: StackCopy<'_>,
        outside: &dyn Memory,
        frames: &mut Vec<Frame>,
    ) -> Outcome {
        frames.clear();
        let limit = self.limits.outside_reads;
        let arch = self.modules.arch();
        let sp = registers.get(arch.stack_pointer).unwrap_or(0);
        let newest = Frame {
            address: CodeAddress::Instruction(pc),
            sp: RemoteAddr::new(sp),
            via: Via::Registers,
        };
        let mut run = Run {
            limit: self.limits.frames as usize,
            cache: &mut self.cache,
            context: &mut self.context,
            walk: Walk {
                arch,
                modules: &self.modules,
                memory: StackMemory::new(stack, outside, &mut self.block, limit),
                registers: *registers,
            },
        };
        let mut status = run.finish(newest, frames);
        let unknown = Status::Truncated(Truncation::UnknownRegister(arch.frame_pointer));
        if status == unknown
            && let Some(found) = run.search(frames)
        {
            status = found;
        }
        let count = |via| {
            let frames = frames.iter().filter(|frame| frame.via == via);
            u32::try_from(frames.count()).unwrap_or(u32::MAX)
        };
        Outcome {
            status,
            by_frame_pointer: count(Via::FramePointer),
            by_code: count(Via::Code),
            by_search: count(Via::FoundFramePointer),
            outside_reads: run.walk.memory.reads(),
        }
    }
}

/// One stack being unwound, with what is known of addresses.
struct Run<'a> {
    limit: usize,
    cache: &'a mut Cache,
    context: &'a mut Context,
    walk: Walk<'a>,
}

impl Run<'_> {
    /// Finds all callers of a frame. What ends it leaves the registers those of
    /// the last frame.
    fn finish(&mut self, mut frame: Frame, frames: &mut Vec<Frame>) -> Status {
        loop {
            let plan = self.cache.get_or_insert(frame.address, || {
                plan(self.walk.modules, frame.address, self.context)
            });
            if plan.is_signal_return() {
                // The kernel put this return address there: nobody called it.
                let pc = InstructionPointer::new(frame.address.addr());
                frame.address = CodeAddress::Instruction(pc);
            }
            frames.push(frame);
            if frames.len() >= self.limit {
                return Status::Truncated(Truncation::TooDeep);
            }
            match self.walk.step(&frame, plan) {
                Ok(Some(caller)) if self.walk.modules.is_code(caller.address.lookup()) => {
                    frame = caller;
                }
                Ok(Some(caller)) => {
                    return Status::Truncated(Truncation::NotCode(caller.address.addr()));
                }
                Ok(None) => return Status::Rooted,
                Err(reason) => return Status::Truncated(reason),
            }
        }
    }

    /// Goes on from the last frame, whose frame pointer is not known, with one
    /// that is found. By the size of the frame it is as good as known; one by
    /// its look has to lead to the root, and no other one may: a stack keeps
    /// frames of functions that have returned.
    fn search(&mut self, frames: &mut Vec<Frame>) -> Option<Status> {
        let last = frames.pop()?;
        let depth = frames.len();
        let before = self.walk.registers;
        let exact = search::by_frame_size(&mut self.walk, &last);
        let candidates = match exact {
            Some(fp) => vec![fp],
            None => search::candidates(&mut self.walk, &last),
        };
        let mut found: Option<(Vec<Frame>, Status)> = None;
        for fp in candidates {
            self.walk.registers = before;
            self.walk.registers.set(self.walk.arch.frame_pointer, fp);
            let mut rest = Vec::new();
            let status = self.finish(last, &mut rest);
            if exact.is_some() || status == Status::Rooted {
                if found.is_some() {
                    found = None;
                    break;
                }
                found = Some((rest, status));
            }
        }
        self.walk.registers = before;
        match found {
            Some((rest, status)) => {
                frames.extend(rest);
                if let Some(caller) = frames.get_mut(depth + 1) {
                    caller.via = Via::FoundFramePointer;
                }
                Some(status)
            }
            None => {
                frames.push(last);
                None
            }
        }
    }
}
