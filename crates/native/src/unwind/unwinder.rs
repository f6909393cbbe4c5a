use firefinch_memory::{Memory, RemoteAddr};

use super::cache::{Cache, Plan};
use super::cfi::{Context, NoRow};
use super::frame_pointer::{self, NoRecord};
use super::rule::Rule;
use super::stack_memory::{Block, StackMemory};
use super::{Frame, Outcome, StackCopy, Status, Truncation, Via};
use crate::address::{CodeAddress, ImageAddress, InstructionPointer, ReturnAddress};
use crate::arch::Architecture;
use crate::image::Image;
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
        let mut walk = Walk {
            arch: self.modules.arch(),
            memory: StackMemory::new(stack, outside, &mut self.block, limit),
            registers: *registers,
            by_frame_pointer: 0,
        };
        let sp = registers.get(walk.arch.stack_pointer).unwrap_or(0);
        let mut frame = Frame {
            address: CodeAddress::Instruction(pc),
            sp: RemoteAddr::new(sp),
            via: Via::Registers,
        };
        let status = loop {
            let plan = self.cache.get_or_insert(frame.address, || {
                plan(&self.modules, frame.address, &mut self.context)
            });
            if plan.is_signal_return() {
                // The kernel put this return address there: nobody called it.
                let pc = InstructionPointer::new(frame.address.addr());
                frame.address = CodeAddress::Instruction(pc);
            }
            frames.push(frame);
            if frames.len() >= self.limits.frames as usize {
                break Status::Truncated(Truncation::TooDeep);
            }
            match walk.step(&frame, plan) {
                Ok(Some(caller)) if self.modules.is_code(caller.address.lookup()) => {
                    frame = caller;
                }
                Ok(Some(caller)) => {
                    break Status::Truncated(Truncation::NotCode(caller.address.addr()));
                }
                Ok(None) => break Status::Rooted,
                Err(reason) => break Status::Truncated(reason),
            }
        };
        Outcome {
            status,
            by_frame_pointer: walk.by_frame_pointer,
            outside_reads: walk.memory.reads(),
        }
    }
}

/// One stack being unwound.
struct Walk<'a> {
    arch: &'static Architecture,
    memory: StackMemory<'a>,
    registers: Registers,
    by_frame_pointer: u32,
}

impl Walk<'_> {
    /// The caller of a frame, `None` at the root.
    fn step(&mut self, frame: &Frame, plan: &Plan) -> Result<Option<Frame>, Truncation> {
        let addr = frame.address.addr();
        if let Some(pc) = self.arch.pc {
            self.registers.set(pc, addr.get());
        }
        let (pc, via, signal_frame) = match plan {
            Plan::Rule(rule) => {
                let pc = rule.apply(self.arch, &mut self.registers, &mut self.memory);
                let pc = pc.map_err(|reason| match reason {
                    Truncation::BadUnwindInfo(_) => Truncation::BadUnwindInfo(addr),
                    other => other,
                })?;
                (pc, rule.via, rule.signal_frame)
            }
            Plan::FramePointer { in_object } => {
                let pc = self.follow(addr, *in_object)?;
                (pc, Via::FramePointer, false)
            }
            Plan::Bad => return Err(Truncation::BadUnwindInfo(addr)),
            Plan::NotCode => return Err(Truncation::NotCode(addr)),
        };
        let Some(pc) = pc else {
            return Ok(None);
        };
        let pc = RemoteAddr::new(pc & self.arch.pointer_mask);
        let address = if signal_frame {
            CodeAddress::Instruction(InstructionPointer::new(pc))
        } else {
            match ReturnAddress::new(pc) {
                Some(pc) => CodeAddress::Return(pc),
                // Threads are started so by hand: there is nobody to return to.
                None => return Ok(None),
            }
        };
        let sp = self.registers.get(self.arch.stack_pointer);
        let sp = sp.ok_or(Truncation::UnknownRegister(self.arch.stack_pointer))?;
        let sp = RemoteAddr::new(sp);
        // A call moves SP, unless its return address stays in a register: then
        // the newest function need not have moved it, nor one interrupted by a
        // signal. A signal handler may have a stack of its own.
        let may_stay = self.arch.link_register.is_some()
            && matches!(frame.address, CodeAddress::Instruction(_));
        let grew = sp > frame.sp || (may_stay && sp == frame.sp);
        if !grew && !signal_frame {
            return Err(Truncation::CfaDidNotGrow);
        }
        self.by_frame_pointer += u32::from(via == Via::FramePointer);
        Ok(Some(Frame { address, sp, via }))
    }

    fn follow(&mut self, addr: RemoteAddr, in_object: bool) -> Result<Option<u64>, Truncation> {
        let none = Truncation::NoUnwindInfo(addr);
        match frame_pointer::follow(self.arch, &mut self.registers, &mut self.memory) {
            Ok(Some(pc)) => Ok(Some(pc)),
            // Code made at run time may use the register for anything.
            Ok(None) if !in_object => Err(none),
            Ok(None) => Ok(None),
            Err(NoRecord::Unreadable(Truncation::TooManyReads)) => Err(Truncation::TooManyReads),
            Err(_) => Err(none),
        }
    }
}

/// Finds out what to do at an address.
fn plan(modules: &Modules, at: CodeAddress, context: &mut Context) -> Plan {
    let Some(located) = modules.locate(at.lookup()) else {
        return Plan::NotCode;
    };
    let arch = modules.arch();
    let cfi = located.module.cfi(modules.objects(), arch);
    let (Some(address), Ok((image, cfi))) = (located.address, cfi) else {
        return Plan::FramePointer { in_object: false };
    };
    if let Some(rule) = signal_return(arch, image, at, address) {
        return Plan::Rule(rule);
    }
    match cfi.rule(arch, address, context) {
        Ok(rule) => Plan::Rule(rule),
        Err(NoRow::Bad) => Plan::Bad,
        Err(NoRow::Absent) => match image.stub_at(address) {
            Some((stub, offset)) => Plan::Rule((arch.stub)(stub, offset)),
            None => Plan::FramePointer { in_object: true },
        },
    }
}

/// The rule in the code that a signal handler returns to. `address` is where
/// to look for what describes the frame `at`.
fn signal_return(
    arch: &Architecture,
    image: &Image,
    at: CodeAddress,
    address: ImageAddress,
) -> Option<Rule> {
    let known = |address: u64| {
        let code = image.code_at(ImageAddress::new(address))?;
        (arch.signal_return)(code.get())
    };
    match at {
        // What lies before it is another function.
        CodeAddress::Return(_) => known(address.get().wrapping_add(1)),
        CodeAddress::Instruction(_) => {
            let into = [0].iter().chain(arch.signal_return_first);
            into.filter_map(|n| known(address.get().wrapping_sub(*n)))
                .next()
        }
    }
}
