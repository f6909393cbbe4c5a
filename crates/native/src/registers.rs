use std::fmt;

/// A register, by the number that DWARF gives it on its architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u8);

/// How many registers are kept: aarch64 has the most, x0 to x30 and SP.
pub(crate) const COUNT: u8 = 32;

/// A set of general registers. One that is not known is not zero: whoever asks
/// for it gets nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    values: [u64; COUNT as usize],
    known: RegisterSet,
}

/// Some of the registers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RegisterSet(u32);

impl Registers {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            values: [0; COUNT as usize],
            known: RegisterSet(0),
        }
    }

    /// The value, if it is known.
    pub fn get(&self, register: Register) -> Option<u64> {
        if !self.known.contains(register) {
            return None;
        }
        self.values.get(usize::from(register.0)).copied()
    }

    /// Sets a value; registers that are not kept are ignored.
    pub fn set(&mut self, register: Register, value: u64) {
        if let Some(slot) = self.values.get_mut(usize::from(register.0)) {
            *slot = value;
            self.known.insert(register);
        }
    }

    /// The value is not known any more.
    pub fn forget(&mut self, register: Register) {
        self.known.remove(register);
    }

    /// Only these keep their values.
    pub(crate) fn retain(&mut self, set: RegisterSet) {
        self.known = RegisterSet(self.known.0 & set.0);
    }
}

impl RegisterSet {
    /// The set of the registers with these numbers, each below [`COUNT`].
    pub(crate) const fn of(numbers: &[u8]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < numbers.len() {
            bits |= 1 << numbers[at];
            at += 1;
        }
        Self(bits)
    }

    /// Whether the register is in the set.
    pub(crate) const fn contains(self, register: Register) -> bool {
        register.0 < COUNT && self.0 & (1 << register.0) != 0
    }

    fn insert(&mut self, register: Register) {
        if register.0 < COUNT {
            self.0 |= 1 << register.0;
        }
    }

    fn remove(&mut self, register: Register) {
        if register.0 < COUNT {
            self.0 &= !(1 << register.0);
        }
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = (0..COUNT).filter_map(|n| Some((Register(n), self.get(Register(n))?)));
        f.debug_map().entries(known).finish()
    }
}

impl fmt::Debug for RegisterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = (0..COUNT).map(Register).filter(|r| self.contains(*r));
        f.debug_set().entries(held).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register is known after it was set, until it is forgotten; a number beyond the last is ignored.
    #[test]
    fn unknown_is_not_zero() {
        let mut registers = Registers::new();
        assert_eq!(registers.get(Register(3)), None);
        registers.set(Register(3), 0);
        registers.set(Register(31), 7);
        registers.set(Register(200), 9);
        assert_eq!(registers.get(Register(3)), Some(0));
        assert_eq!(registers.get(Register(31)), Some(7));
        assert_eq!(registers.get(Register(200)), None);
        registers.retain(RegisterSet::of(&[31]));
        assert_eq!(registers.get(Register(3)), None);
        assert_eq!(registers.get(Register(31)), Some(7));
        registers.forget(Register(31));
        assert_eq!(registers, {
            let mut other = Registers::new();
            other.values = registers.values;
            other
        });
    }
}
