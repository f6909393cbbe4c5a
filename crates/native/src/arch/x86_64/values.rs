//! What the registers hold, as far as it matters for returning.

use iced_x86::{Code as Opcode, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::decode::{immediate, memory, number};
use super::{RBP, RSP, X86_64};
use crate::registers::{Register as Number, RegisterSet};
use crate::unwind::{Recovery, Rule};

/// What each register holds, `None` if it is something else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values([Option<Place>; 16]);

/// A value that a register had at the start, or that lies in memory at one,
/// and what has been added to it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    base: Base,
    offset: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Register(Number),
    Memory(Number, i32),
}

/// What a call may change.
const SCRATCH: RegisterSet = RegisterSet::of(&[0, 1, 2, 4, 5, 8, 9, 10, 11]);

impl Values {
    /// Every register holds what it held.
    pub(super) fn at_start() -> Self {
        let mut values = [None; 16];
        for (number, value) in (0..).zip(&mut values) {
            *value = Some(Place {
                base: Base::Register(Number(number)),
                offset: 0,
            });
        }
        Self(values)
    }

    pub(super) fn get(&self, register: Number) -> Option<Place> {
        self.0.get(usize::from(register.0)).copied().flatten()
    }

    fn set(&mut self, register: Number, value: Option<Place>) {
        if let Some(slot) = self.0.get_mut(usize::from(register.0)) {
            *slot = value;
        }
    }

    /// Takes in an instruction that goes on to the next.
    pub(super) fn step(&mut self, instruction: &Instruction) {
        if instruction.flow_control() != FlowControl::Next {
            // The callee leaves the stack as it was.
            for register in (0..16).map(Number).filter(|r| SCRATCH.contains(*r)) {
                self.set(register, None);
            }
            return;
        }
        let first = number(instruction.op0_register());
        match (instruction.mnemonic(), first) {
            (Mnemonic::Push | Mnemonic::Pushfq, _) => self.set(RSP, self.plus(RSP, -8)),
            (Mnemonic::Pop, first) => self.pop(first),
            (Mnemonic::Popfq, _) => self.pop(None),
            (Mnemonic::Leave, _) => {
                self.set(RSP, self.get(RBP));
                self.pop(Some(RBP));
            }
            (Mnemonic::Cmp | Mnemonic::Test, _) => {}
            (mnemonic, Some(first)) if instruction.op0_kind() == OpKind::Register => {
                let value = match mnemonic {
                    Mnemonic::Add => immediate(instruction).and_then(|by| self.plus(first, by)),
                    Mnemonic::Sub => {
                        let by = immediate(instruction).and_then(i32::checked_neg);
                        by.and_then(|by| self.plus(first, by))
                    }
                    Mnemonic::Lea => {
                        memory(instruction).and_then(|(base, offset)| self.plus(base, offset))
                    }
                    Mnemonic::Mov => self.moved(instruction),
                    _ => None,
                };
                self.set(first, value);
            }
            _ => {}
        }
    }

    /// What a `mov` to a register puts there.
    fn moved(&self, instruction: &Instruction) -> Option<Place> {
        if !matches!(
            instruction.code(),
            Opcode::Mov_r64_rm64 | Opcode::Mov_rm64_r64
        ) {
            return None;
        }
        match instruction.op1_kind() {
            OpKind::Register => self.get(number(instruction.op1_register())?),
            OpKind::Memory if instruction.segment_prefix() == Register::None => {
                let (base, offset) = memory(instruction)?;
                self.plus(base, offset)?.content()
            }
            _ => None,
        }
    }

    fn pop(&mut self, register: Option<Number>) {
        let value = self.get(RSP).and_then(Place::content);
        self.set(RSP, self.plus(RSP, 8));
        if let Some(register) = register {
            self.set(register, value);
        }
    }

    fn plus(&self, register: Number, by: i32) -> Option<Place> {
        let place = self.get(register)?;
        let offset = place.offset.checked_add(by)?;
        Some(Place { offset, ..place })
    }

    /// The rule, where SP is at the return address.
    pub(super) fn rule(&self) -> Option<Rule> {
        let cfa = self.plus(RSP, 8)?;
        let mut saved = Vec::new();
        for register in (0..16).map(Number) {
            if register == RSP || !X86_64.preserved.contains(register) {
                continue;
            }
            let recovery = match (self.get(register), cfa.base) {
                (Some(value), _) if value == Place::start(register) => continue,
                (Some(value), base) if value.offset == 0 => match (value.base, base) {
                    (Base::Memory(at, offset), Base::Register(base)) if at == base => {
                        Recovery::AtCfa(offset.checked_sub(cfa.offset)?)
                    }
                    (Base::Memory(at, offset), _) => Recovery::AtRegister(at, offset),
                    (Base::Register(other), _) => Recovery::Register(other),
                },
                _ => Recovery::Undefined,
            };
            saved.push((register, recovery));
        }
        Some(match cfa.base {
            Base::Register(base) => Rule::by_code(base, cfa.offset, saved),
            Base::Memory(base, at) => Rule::by_code_in_memory((base, at), cfa.offset, saved),
        })
    }
}

impl Place {
    fn start(register: Number) -> Self {
        Self {
            base: Base::Register(register),
            offset: 0,
        }
    }

    /// What lies in memory there.
    fn content(self) -> Option<Self> {
        let Base::Register(register) = self.base else {
            return None;
        };
        Some(Self {
            base: Base::Memory(register, self.offset),
            offset: 0,
        })
    }

    /// Whether it is above where SP was at the start.
    pub(super) fn is_above(self) -> bool {
        self.base == Base::Register(RSP) && self.offset > 0
    }

    /// Whether it is a place at the value of a register.
    pub(super) fn is_from(self, register: Number) -> bool {
        self.base == Base::Register(register)
    }
}
