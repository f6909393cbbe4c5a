use firefinch_memory::{Memory, RemoteAddr};

use super::cache::{Cache, Plan};
use super::cfi::Context;
use super::plan::plan;
use super::search::{self, Candidate};
use super::stack_memory::{Block, StackMemory};
use super::walk::Walk;
use super::{Frame, Outcome, StackCopy, Status, Truncation, Via};
use crate::address::{CodeAddress, InstructionPointer, ReturnAddress};
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
            lands: false,
            walk: Walk {
                arch,
                modules: &self.modules,
                memory: StackMemory::new(stack, outside, &mut self.block, limit),
                registers: *registers,
            },
        };
        let mut status = run.finish(newest, frames);
        if let Some(found) = run.search(status, frames) {
            // What is found may lead to where another has to be looked for.
            status = run.search(found, frames).unwrap_or(found);
        }
        if run.lands && run.land(status, registers, frames) {
            status = Status::Rooted;
        }
        let count = |via| {
            let frames = frames.iter().filter(|frame| frame.via == via);
            u32::try_from(frames.count()).unwrap_or(u32::MAX)
        };
        Outcome {
            status,
            by_frame_pointer: count(Via::FramePointer),
            by_code: count(Via::Code),
            by_search: count(Via::Searched),
            outside_reads: run.walk.memory.reads(),
        }
    }
}

/// One stack being unwound, with what is known of addresses.
struct Run<'a> {
    limit: usize,
    cache: &'a mut Cache,
    context: &'a mut Context,
    /// Whether a frame is of a function that may go on elsewhere.
    lands: bool,
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
            self.lands |= plan.may_land();
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

    /// Goes on from the last frame, whose caller is not known, with one that is
    /// looked for. By a frame pointer that the size of the frame tells, it is as
    /// good as known. One by its look has to lead to the root, and no other one
    /// may: a stack keeps frames of functions that have returned.
    fn search(&mut self, status: Status, frames: &mut Vec<Frame>) -> Option<Status> {
        let Status::Truncated(reason) = status else {
            return None;
        };
        let last = *frames.last()?;
        let fp = self.walk.arch.frame_pointer;
        let before = self.walk.registers;
        let mut candidates = Vec::new();
        if reason == Truncation::UnknownRegister(fp) {
            if let Some(exact) = search::by_frame_size(&mut self.walk, &last) {
                let found = self.go_on(&before, last, exact)?;
                return Some(found.take(frames));
            }
            candidates = search::frame_pointers(&mut self.walk, &last);
        }
        let plan = self.plan(last.address);
        let is_undescribed = matches!(plan, Plan::Undescribed(_));
        if is_undescribed && !matches!(reason, Truncation::MemoryMissing(_)) {
            candidates.extend(search::return_addresses(&mut self.walk, &last));
        }
        let mut found: Option<Found> = None;
        for candidate in candidates {
            let Some(rest) = self.go_on(&before, last, candidate) else {
                continue;
            };
            if rest.status == Status::Rooted {
                if found.is_some() {
                    found = None;
                    break;
                }
                found = Some(rest);
            }
        }
        self.walk.registers = before;
        Some(found?.take(frames))
    }

    /// The callers of the last frame by a candidate.
    fn go_on(&mut self, before: &Registers, last: Frame, candidate: Candidate) -> Option<Found> {
        let arch = self.walk.arch;
        self.walk.registers = *before;
        let caller = match candidate {
            Candidate::FramePointer(fp) => {
                self.walk.registers.set(arch.frame_pointer, fp);
                let plan = self.cache.get_or_insert(last.address, || {
                    plan(self.walk.modules, last.address, self.context)
                });
                self.walk.step(&last, plan).ok()??
            }
            Candidate::Return { pc, sp } => {
                self.walk.registers = Registers::new();
                self.walk.registers.set(arch.stack_pointer, sp);
                Frame {
                    address: CodeAddress::Return(ReturnAddress::new(RemoteAddr::new(pc))?),
                    sp: RemoteAddr::new(sp),
                    via: Via::Searched,
                }
            }
        };
        if !self.walk.modules.is_code(caller.address.lookup()) {
            return None;
        }
        let mut frames = Vec::new();
        let via = Via::Searched;
        let status = self.finish(Frame { via, ..caller }, &mut frames);
        Some(Found { frames, status })
    }

    /// Finds out whether what seemed to be the callers of libgcc's unwinder are not,
    /// as it is about to go on where an exception is caught, and if so who are.
    ///
    /// `uw_install_context` (unwind-dw2.c, GCC 4 to 15) writes the registers of there
    /// over those that its function has saved, and at last the return address, which
    /// then is the one that the catching function's callee has: so SP there is above
    /// the place from which it was taken. Of a recursive function the nearest frame
    /// catches, as all others would in the same way. Only what leads to the root is
    /// believed, and only if the callers did not, or the call there was of another
    /// function.
    fn land(&mut self, status: Status, registers: &Registers, frames: &mut Vec<Frame>) -> bool {
        let may_land = |frame: &Frame| self.plan(frame.address).may_land();
        let Some(at) = frames.iter().position(may_land) else {
            return false;
        };
        self.walk.registers = *registers;
        let mut caller = None;
        for frame in frames.iter().take(at + 1) {
            let plan = self.cache.get_or_insert(frame.address, || {
                plan(self.walk.modules, frame.address, self.context)
            });
            caller = self.walk.step(frame, plan).ok().flatten();
        }
        let (Some(caller), Some(lands)) = (caller, frames.get(at)) else {
            return false;
        };
        if status == Status::Rooted && search::may_be_called(&self.walk, lands, &caller) {
            return false;
        }
        let landing = self.walk.registers;
        for sp in search::returns_by(&mut self.walk, &caller) {
            self.walk.registers = landing;
            self.walk.registers.set(self.walk.arch.stack_pointer, sp);
            let caller = Frame {
                sp: RemoteAddr::new(sp),
                via: Via::Searched,
                ..caller
            };
            let mut rest = Vec::new();
            if self.finish(caller, &mut rest) == Status::Rooted {
                frames.truncate(at + 1);
                frames.append(&mut rest);
                return true;
            }
        }
        false
    }

    fn plan(&mut self, address: CodeAddress) -> &Plan {
        self.cache
            .get_or_insert(address, || plan(self.walk.modules, address, self.context))
    }
}

/// Callers that were found by a candidate.
struct Found {
    frames: Vec<Frame>,
    status: Status,
}

impl Found {
    fn take(self, frames: &mut Vec<Frame>) -> Status {
        frames.extend(self.frames);
        self.status
    }
}
