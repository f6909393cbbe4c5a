use std::collections::HashSet;

use crate::native::Nameless;
use crate::tally::Tally;

/// What native stacks of one process came to, or of several.
#[derive(Clone, Debug)]
pub struct NativeSummary {
    /// How good they were.
    pub tally: Tally,
    /// Whether Python ran in one of the processes.
    pub with_python: bool,
    /// Objects of which functions that were shown have no names, those first that
    /// were met most often.
    pub without_symbols: Vec<Nameless>,
    /// Why the kernel's frames could not be had, if they could not.
    pub kernel_refused: Option<String>,
    /// Why names of code made at run time were not taken, if there were some.
    pub names_refused: Option<String>,
}

impl NativeSummary {
    /// Of all that there are.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all = all.into_iter();
        let mut sum = all.next()?;
        for other in all {
            sum.add(other);
        }
        Some(sum)
    }

    /// Takes in another process.
    fn add(&mut self, other: Self) {
        self.tally.add(&other.tally);
        self.with_python |= other.with_python;
        let known = self.without_symbols.iter();
        let known: HashSet<_> = known.map(|object| object.build_id.clone()).collect();
        let new = other.without_symbols.into_iter();
        let new = new.filter(|object| !known.contains(&object.build_id));
        self.without_symbols.extend(new);
        self.kernel_refused = self.kernel_refused.take().or(other.kernel_refused);
        self.names_refused = self.names_refused.take().or(other.names_refused);
    }
}
