//! How much stack a function uses, by the code that it starts with.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::decode::{decode, immediate, memory, number};
use super::{RBP, RSP, X86_64};
use crate::ImageAddress;
use crate::image::Code;
use crate::registers::Register as Kept;
use crate::unwind::{Recovery, Rule};

/// Instructions looked at; what sets up a frame stands at the start.
const MAX_STEPS: usize = 2000;

/// What a function has done to its stack.
#[derive(Debug, Default)]
struct Frame {
    /// By how much SP is below what it was when the function was called.
    size: i32,
    /// The same for the frame pointer, where it keeps one.
    pointer: Option<i32>,
    /// What was saved, and by how much below.
    saved: Vec<(Kept, i32)>,
    /// It has begun by setting the frame pointer to null, as the System V ABI
    /// wants it of the outermost frame (3.4.1).
    is_outermost: bool,
    /// It calls or branches: the frame stays as it is to the function's ends.
    settled: bool,
}

/// The rule at an instruction of a function that starts at `start`: for those
/// that never return.
pub(super) fn rule(code: &mut Code<'_>, start: ImageAddress, at: ImageAddress) -> Option<Rule> {
    let frame = Frame::of(code, start, at)?;
    if frame.is_outermost {
        return Some(Rule::root(RSP));
    }
    let saved = frame.saved.iter();
    let saved = saved.map(|(register, below)| (*register, Recovery::AtCfa(-8 - below)));
    let (base, offset) = match frame.pointer {
        Some(below) => (RBP, below),
        None => (RSP, frame.size),
    };
    Some(Rule::by_code(base, offset.checked_add(8)?, saved.collect()))
}

/// The distance from SP up to the frame pointer at an instruction of a function
/// that starts at `start` and keeps one. `None` if it depends on more than the
/// code.
pub(super) fn below_frame_pointer(
    code: &mut Code<'_>,
    start: ImageAddress,
    at: ImageAddress,
) -> Option<u64> {
    let frame = Frame::of(code, start, at)?;
    u64::try_from(frame.size.checked_sub(frame.pointer?)?).ok()
}

impl Frame {
    /// Looks at the instructions in their order in memory, up to `at`.
    fn of(code: &mut Code<'_>, start: ImageAddress, at: ImageAddress) -> Option<Self> {
        let mut frame = Self::default();
        let mut address = start.get();
        for _ in 0..MAX_STEPS {
            if address >= at.get() || frame.is_outermost {
                return Some(frame);
            }
            let instruction = decode(code, address);
            if instruction.is_invalid() {
                return None;
            }
            frame.step(&instruction)?;
            address = instruction.next_ip();
        }
        None
    }

    fn step(&mut self, instruction: &Instruction) -> Option<()> {
        let register = instruction.op0_register();
        let is_sp = register == Register::RSP;
        match instruction.mnemonic() {
            // A size that depends on more than the code.
            Mnemonic::And | Mnemonic::Xchg if is_sp => return None,
            Mnemonic::Sub if is_sp => {
                let by = immediate(instruction)?;
                self.grow(by)?;
            }
            Mnemonic::Lea if is_sp => match memory(instruction)? {
                (RSP, by) => self.grow(by.checked_neg()?)?,
                _ => return None,
            },
            Mnemonic::Xor if register.full_register() == Register::RBP && self.is_fresh() => {
                self.is_outermost = instruction.op1_register() == register;
            }
            Mnemonic::Push | Mnemonic::Pushfq => {
                self.grow(8)?;
                if !self.settled
                    && let Some(register) = number(register)
                    && X86_64.preserved.contains(register)
                {
                    self.saved.push((register, self.size));
                }
            }
            Mnemonic::Mov
                if !self.settled
                    && register == Register::RBP
                    && instruction.op1_kind() == OpKind::Register
                    && instruction.op1_register() == Register::RSP =>
            {
                self.pointer = Some(self.size);
            }
            // What comes before it is set up only leaves early.
            _ if instruction.flow_control() != FlowControl::Next => self.settled |= self.size > 0,
            _ => {}
        }
        Some(())
    }

    /// Whether it has done nothing to its stack yet.
    fn is_fresh(&self) -> bool {
        self.size == 0 && self.pointer.is_none()
    }

    fn grow(&mut self, by: i32) -> Option<()> {
        if !self.settled {
            self.size = self.size.checked_add(by)?;
        }
        Some(())
    }
}
