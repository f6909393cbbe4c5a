use firefinch_memory::RemoteAddr;

use super::cache::Plan;
use super::frame_pointer::{self, NoRecord};
use super::rule::{Caller, Rule};
use super::stack_memory::StackMemory;
use super::{Frame, Truncation, Via};
use crate::address::{CodeAddress, ImageAddress, InstructionPointer, ReturnAddress};
use crate::arch::{Architecture, Call};
use crate::image::Code;
use crate::modules::Modules;
use crate::registers::Registers;

/// How much of code that was made at run time is followed.
const GENERATED: usize = 64;

/// One stack being unwound.
pub(super) struct Walk<'a> {
    pub(super) arch: &'static Architecture,
    pub(super) modules: &'a Modules,
    pub(super) memory: StackMemory<'a>,
    /// Of the frame reached.
    pub(super) registers: Registers,
}

impl Walk<'_> {
    /// The caller of a frame, `None` at the root. The registers are the
    /// caller's then; where one is missing they are as they were.
    pub(super) fn step(&mut self, frame: &Frame, plan: &Plan) -> Result<Option<Frame>, Truncation> {
        let addr = frame.address.addr();
        if let Some(pc) = self.arch.pc {
            self.registers.set(pc, addr.get());
        }
        let (pc, via, signal_frame) = match plan {
            Plan::Undescribed(rules) => {
                let generated = self.generated(addr);
                let mut rules = rules.iter().chain(&generated);
                match rules.find_map(|rule| self.by_code(rule)) {
                    Some(pc) => (pc, Via::Code, false),
                    None => (self.follow(frame)?, Via::FramePointer, false),
                }
            }
            Plan::Rule(rule) => {
                let pc = rule.apply(self.arch, &mut self.registers, &mut self.memory);
                let pc = pc.map_err(|reason| match reason {
                    Truncation::BadUnwindInfo(_) => Truncation::BadUnwindInfo(addr),
                    other => other,
                })?;
                (pc, rule.via, rule.signal_frame)
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
        if via == Via::FramePointer && !self.may_return_to(pc) {
            return Err(Truncation::NoUnwindInfo(addr));
        }
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
        Ok(Some(Frame { address, sp, via }))
    }

    /// The rule at an address in code that was made at run time, by that code:
    /// short ways out, as CPython's trampolines for perf have them
    /// (Python/asm_trampoline.S), which to 3.13 keep no frame pointer. Read at
    /// each time, as other code may be there now.
    fn generated(&mut self, addr: RemoteAddr) -> Option<Rule> {
        if self.modules.locate(addr)?.address.is_some() {
            return None;
        }
        let mut bytes = [0; GENERATED];
        let mut len = 0;
        for word in bytes.chunks_mut(8) {
            let at = addr.offset(len as u64);
            let Ok(value) = self.memory.u64(at) else {
                break;
            };
            word.copy_from_slice(&value.to_le_bytes());
            len += word.len();
        }
        let mut code = Code::copied(addr.get(), bytes.get(..len)?);
        (self.arch.by_exit)(&mut code, ImageAddress::new(addr.get()))
    }

    /// The return address by a function's code, unless what is there is none.
    fn by_code(&mut self, rule: &Rule) -> Option<Caller> {
        let before = self.registers;
        let pc = rule.apply(self.arch, &mut self.registers, &mut self.memory);
        let believed = match pc {
            Ok(Some(pc)) => self.may_return_to(RemoteAddr::new(pc & self.arch.pointer_mask)),
            Ok(None) => true,
            Err(_) => false,
        };
        if !believed {
            self.registers = before;
        }
        pc.ok().filter(|_| believed)
    }

    /// The return address by the frame pointer. A chain of them ends with null
    /// by both ABIs; but a register that is null need not be one.
    fn follow(&mut self, frame: &Frame) -> Result<Caller, Truncation> {
        let none = Truncation::NoUnwindInfo(frame.address.addr());
        match frame_pointer::follow(self.arch, &mut self.registers, &mut self.memory) {
            Ok(Some(pc)) => Ok(Some(pc)),
            Ok(None) if frame.via == Via::FramePointer => Ok(None),
            Ok(None) => Err(none),
            Err(NoRecord::Unknown) => Err(Truncation::UnknownRegister(self.arch.frame_pointer)),
            Err(NoRecord::Unreadable(Truncation::TooManyReads)) => Err(Truncation::TooManyReads),
            Err(_) => Err(none),
        }
    }

    /// Whether a call may return to an address. Of code that cannot be read
    /// anything may be true.
    fn may_return_to(&self, pc: RemoteAddr) -> bool {
        self.call_before(pc) != Some(Call::None) || self.starts_at(pc)
    }

    fn starts_at(&self, pc: RemoteAddr) -> bool {
        let before = RemoteAddr::new(pc.get().wrapping_sub(1));
        let located = self.modules.locate(before);
        let code = located.and_then(|located| {
            let image = located.module.image(self.modules.objects(), self.arch);
            Some((image.ok()?, located.address?.get()))
        });
        code.is_some_and(|(image, address)| (self.arch.starts_here)(Code::of(image).at(address)))
    }

    /// The call before an address, `None` if its code cannot be read. The
    /// target of a direct one is an address of its module.
    pub(super) fn call_before(&self, pc: RemoteAddr) -> Option<Call> {
        let before = RemoteAddr::new(pc.get().wrapping_sub(1));
        let Some(located) = self.modules.locate(before) else {
            return Some(Call::None);
        };
        let after = located.address?.get().wrapping_add(1);
        let image = located.module.image(self.modules.objects(), self.arch);
        let mut code = Code::of(image.ok()?);
        let bytes = code.at(after.checked_sub(self.arch.longest_call)?);
        let call = bytes.get(..usize::try_from(self.arch.longest_call).ok()?);
        Some((self.arch.call_before)(call?, after))
    }
}
