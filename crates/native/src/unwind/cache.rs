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

/// A slot that nothing is in.
const EMPTY: u16 = u16::MAX;

/// The plan for each address seen of late. Each address has one slot, so that
/// looking up is one comparison, and a newer address in the same slot wins. What is
/// in no slot takes no room: most of the processes of a tree stand at few addresses.
#[derive(Debug)]
pub(super) struct Cache {
    /// The places in `held`, of which there are no more than slots.
    slots: Box<[u16]>,
    held: Vec<(CodeAddress, Plan)>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![EMPTY; SLOTS].into(),
            held: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.held.clear();
    }

    /// Forgets where no code was.
    pub(super) fn forget_missing(&mut self) {
        self.slots.fill(EMPTY);
        self.held.retain(|(_, plan)| !matches!(plan, Plan::NotCode));
        for (place, (address, _)) in (0..).zip(&self.held) {
            self.slots[slot(*address)] = place;
        }
    }

    #[inline]
    pub(super) fn get_or_insert(
        &mut self,
        address: CodeAddress,
        make: impl FnOnce() -> Plan,
    ) -> &Plan {
        let slot = &mut self.slots[slot(address)];
        let mut place = usize::from(*slot);
        match self.held.get_mut(place) {
            Some((held, _)) if *held == address => {}
            Some(entry) => *entry = (address, make()),
            None => {
                place = self.held.len();
                self.held.push((address, make()));
                *slot = u16::try_from(place).unwrap_or(EMPTY);
            }
        }
        &self.held[place].1
    }
}

/// The slot of an address.
fn slot(address: CodeAddress) -> usize {
    // Fibonacci hashing: the high bits depend on all bits of the address.
    let hash = address.addr().get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(hash >> (64 - SLOTS.trailing_zeros())).unwrap_or(0) % SLOTS
}
