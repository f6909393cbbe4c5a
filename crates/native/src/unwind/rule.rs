use firefinch_memory::RemoteAddr;

use super::expression::evaluate;
use super::stack_memory::StackMemory;
use super::{Truncation, Via};
use crate::arch::Architecture;
use crate::registers::{Register, Registers};

/// How to get from a frame to its caller, at one instruction: a row of the
/// unwind table, or what stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(super) cfa: Cfa,
    /// How to find where the caller goes on.
    pub(super) pc: Recovery,
    /// How to find the caller's registers; those not named keep their value if
    /// the calling convention preserves them. SP is the CFA if not named.
    pub(super) registers: Box<[(Register, Recovery)]>,
    /// The caller did not call: a signal interrupted it. All its registers
    /// are to be had, and its stack may be elsewhere.
    pub(super) signal_frame: bool,
    /// The function may go on elsewhere than where it was called: one that uses
    /// `__builtin_eh_return` saves the registers in which a landing pad is told about
    /// the exception, which nobody else has to preserve (`EH_RETURN_DATA_REGNO` in
    /// GCC).
    pub(super) may_land: bool,
    /// How the caller counts as found.
    pub(super) via: Via,
}

/// The canonical frame address: where SP was in the caller before its call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cfa {
    /// A register and an offset.
    Offset(Register, i32),
    /// What lies in memory at a register and an offset, and another offset.
    InMemory(Register, i32, i32),
    /// A DWARF expression.
    Expression(Box<[u8]>),
}

/// How to find a value of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It is lost. For the instruction pointer: there is no caller.
    Undefined,
    /// It is what it is in this frame.
    Same,
    /// It lies at the CFA plus this.
    AtCfa(i32),
    /// It lies at another register plus this.
    AtRegister(Register, i32),
    /// It is the CFA plus this.
    CfaPlus(i32),
    /// It is in another register.
    Register(Register),
    /// It lies where a DWARF expression says.
    At(Box<[u8]>),
    /// It is what a DWARF expression says.
    Expression(Box<[u8]>),
}

/// A caller's instruction pointer, not checked yet; `None` at the root.
pub(super) type Caller = Option<u64>;

impl Rule {
    /// Where a linker's stub has pushed `offset` bytes.
    pub(crate) fn stub(sp: Register, offset: i32, pc: Recovery) -> Self {
        Self {
            cfa: Cfa::Offset(sp, offset),
            pc,
            registers: Box::new([]),
            signal_frame: false,
            may_land: false,
            via: Via::KnownCode,
        }
    }

    /// Where a function was followed to its return.
    pub(crate) fn by_code(
        base: Register,
        offset: i32,
        registers: Vec<(Register, Recovery)>,
    ) -> Self {
        Self {
            cfa: Cfa::Offset(base, offset),
            pc: Recovery::AtCfa(-8),
            registers: registers.into(),
            signal_frame: false,
            may_land: false,
            via: Via::Code,
        }
    }

    /// The same where the base lies in memory, at a register.
    pub(crate) fn by_code_in_memory(
        (register, at): (Register, i32),
        offset: i32,
        registers: Vec<(Register, Recovery)>,
    ) -> Self {
        Self {
            cfa: Cfa::InMemory(register, at, offset),
            ..Self::by_code(register, 0, registers)
        }
    }

    /// Where a function was followed to the end of its thread.
    pub(crate) fn root(sp: Register) -> Self {
        Self {
            cfa: Cfa::Offset(sp, 0),
            pc: Recovery::Undefined,
            registers: Box::new([]),
            signal_frame: false,
            may_land: false,
            via: Via::Code,
        }
    }

    /// Where the kernel has saved the registers of what it interrupted at
    /// offsets from SP.
    pub(crate) fn signal_frame(sp: Register, pc: i32, saved: &[(Register, i32)]) -> Self {
        let saved = saved
            .iter()
            .map(|(r, offset)| (*r, Recovery::AtCfa(*offset)));
        Self {
            cfa: Cfa::Offset(sp, 0),
            pc: Recovery::AtCfa(pc),
            registers: saved.collect(),
            signal_frame: true,
            may_land: false,
            via: Via::KnownCode,
        }
    }

    /// Turns a frame's registers into its caller's.
    pub(super) fn apply(
        &self,
        arch: &Architecture,
        registers: &mut Registers,
        memory: &mut StackMemory<'_>,
    ) -> Result<Caller, Truncation> {
        let cfa = match &self.cfa {
            Cfa::Offset(register, offset) => {
                let base = registers.get(*register);
                base.ok_or(Truncation::UnknownRegister(*register))?
                    .wrapping_add_signed(i64::from(*offset))
            }
            Cfa::InMemory(register, at, offset) => {
                let base = registers.get(*register);
                let base = base.ok_or(Truncation::UnknownRegister(*register))?;
                let at = RemoteAddr::new(base.wrapping_add_signed(i64::from(*at)));
                memory.u64(at)?.wrapping_add_signed(i64::from(*offset))
            }
            Cfa::Expression(code) => evaluate(code, None, registers, memory)?,
        };
        let pc = self.pc.find(cfa, arch.link_register, registers, memory)?;
        let Some(pc) = pc else {
            return Ok(None);
        };
        let mut caller = *registers;
        caller.retain(arch.preserved);
        caller.set(arch.stack_pointer, cfa);
        for (register, recovery) in &self.registers {
            // A value that cannot be had is missed when it is needed.
            match recovery.find(cfa, Some(*register), registers, memory) {
                Ok(Some(value)) => caller.set(*register, value),
                Ok(None) | Err(_) => caller.forget(*register),
            }
        }
        *registers = caller;
        Ok(Some(pc))
    }
}

impl Recovery {
    /// The value of the caller's register `own`, `None` if it is lost.
    fn find(
        &self,
        cfa: u64,
        own: Option<Register>,
        registers: &Registers,
        memory: &mut StackMemory<'_>,
    ) -> Result<Option<u64>, Truncation> {
        let get = |register: Register| {
            let value = registers.get(register);
            value.ok_or(Truncation::UnknownRegister(register))
        };
        let at = |offset: &i32| cfa.wrapping_add_signed(i64::from(*offset));
        match self {
            Self::Undefined => Ok(None),
            Self::Same => own.map(get).transpose(),
            Self::AtCfa(offset) => memory.u64(RemoteAddr::new(at(offset))).map(Some),
            Self::AtRegister(register, offset) => {
                let base = get(*register)?.wrapping_add_signed(i64::from(*offset));
                memory.u64(RemoteAddr::new(base)).map(Some)
            }
            Self::CfaPlus(offset) => Ok(Some(at(offset))),
            Self::Register(register) => get(*register).map(Some),
            Self::At(code) => {
                let at = evaluate(code, Some(cfa), registers, memory)?;
                memory.u64(RemoteAddr::new(at)).map(Some)
            }
            Self::Expression(code) => evaluate(code, Some(cfa), registers, memory).map(Some),
        }
    }
}
