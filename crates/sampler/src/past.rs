use firefinch_process::Cost;

use crate::lane::Reuse;
use crate::member::Member;
use crate::named_later::NamedLater;
use crate::native_summary::NativeSummary;
use crate::target::Target;

/// What processes have left that are not sampled any more.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) sums: Sums,
    pub(crate) native: Option<NativeSummary>,
    /// Whether functions are to get names at the end.
    pub(crate) names_later: bool,
    /// Whose functions may get some.
    nameless: Vec<Target>,
}

/// What recording has cost, and what it brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// How often a process was there to be looked at at a tick.
    pub looks: u64,
    /// What reading memory has cost.
    pub memory: Cost,
    /// What finding out which threads ran has cost.
    pub watch: Cost,
    /// Code objects decoded.
    pub decoded: usize,
    /// How much of the stacks was as before.
    pub reuse: Reuse,
}

/// Of so many processes that have ended functions get names later: those that
/// have objects which no other one has.
const MOST: usize = 16;

impl Sums {
    pub(crate) fn add(&mut self, member: &Member) {
        let target = &member.target;
        self.looks += member.looks;
        self.memory += target.memory().cost();
        self.watch += target.watch_cost();
        self.decoded += target.decoded();
        self.reuse += member.lanes.reuse();
    }
}

impl Past {
    /// Takes leave of one.
    pub(crate) fn add(&mut self, member: Member) {
        self.sums.add(&member);
        let Some(native) = member.target.native_summary() else {
            return;
        };
        let known = self.native.as_ref();
        let known = known.map_or(&[][..], |native| &native.without_symbols);
        let mut nameless = native.without_symbols.iter();
        if self.names_later
            && self.nameless.len() < MOST
            && nameless.any(|object| !known.contains(object))
        {
            self.nameless.push(member.target);
        }
        self.native = NativeSummary::sum(self.native.take().into_iter().chain([native]));
    }

    /// Looks for names once more.
    pub(crate) fn name_again(&mut self) -> NamedLater {
        let mut named = NamedLater::default();
        for target in &mut self.nameless {
            named.extend(target.name_again());
        }
        if let Some(native) = &mut self.native {
            native.tally.rename(named.names());
        }
        named
    }
}
