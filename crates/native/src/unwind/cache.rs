use super::rule::Rule;
use crate::address::CodeAddress;

/// What to do at an address, known from before.
#[derive(Debug)]
pub(super) enum Plan {
    /// Apply this rule.
    Rule(Rule),
    /// Nothing describes the code. These rules are what it looks like, the
    /// better first; what they give is to be checked. After them the frame
    /// pointer is followed.
    Undescribed(Box<[Rule]>),
    /// Its description is damaged.
    Bad,
    /// There is no code.
    NotCode,
}

impl Plan {
    /// Whether it is for what a signal handler returns to.
    pub(super) fn is_signal_return(&self) -> bool {
        matches!(self, Self::Rule(rule) if rule.signal_frame)
    }

    /// Whether the function may go on elsewhere than where it was called.
    pub(super) fn may_land(&self) -> bool {
        matches!(self, Self::Rule(rule) if rule.may_land)
    }
}

/// Addresses kept. A Python program under load stands at some hundreds of
/// different return addresses, a large native one at some thousands.
const SLOTS: usize = 1 << 13;

/// The plan for each address seen of late. Each address has one slot, so that
/// looking up is one comparison, and a newer address in the same slot wins.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Box<[Option<(CodeAddress, Plan)>]>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(SLOTS).collect(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill_with(|| None);
    }

    /// Forgets where no code was.
    pub(super) fn forget_missing(&mut self) {
        for slot in &mut self.slots {
            slot.take_if(|(_, plan)| matches!(plan, Plan::NotCode));
        }
    }

    #[inline]
    pub(super) fn get_or_insert(
        &mut self,
        address: CodeAddress,
        make: impl FnOnce() -> Plan,
    ) -> &Plan {
        // Fibonacci hashing: the high bits depend on all bits of the address.
        let hash = address.addr().get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slot = usize::try_from(hash >> (64 - SLOTS.trailing_zeros())).unwrap_or(0);
        let slot = &mut self.slots[slot % SLOTS];
        if slot.as_ref().is_none_or(|(held, _)| *held != address) {
            *slot = None;
        }
        &slot.get_or_insert_with(|| (address, make())).1
    }
}
