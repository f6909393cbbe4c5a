use std::iter;
use std::time::Instant;

use crate::member::Member;

/// The processes that are recorded.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) root: Member,
    /// It neither has ended nor is about to be attached to anew, and then among
    /// the others.
    pub(crate) root_is_there: bool,
    pub(crate) others: Vec<Member>,
}

impl Members {
    /// Those that can be looked at, and the root in any case.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Member> {
        iter::once(&self.root).chain(&self.others)
    }

    /// The same, to change them.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        iter::once(&mut self.root).chain(&mut self.others)
    }

    /// The tick after this one comes at `moment`.
    pub(crate) fn expect(&mut self, moment: Instant) {
        self.all_mut().for_each(|member| member.expect(moment));
    }

    /// Those that can be looked at, to change them.
    pub(crate) fn present_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        let absent = usize::from(!self.root_is_there);
        self.all_mut().skip(absent)
    }

    /// Those that can be looked at.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Member> {
        let absent = usize::from(!self.root_is_there);
        self.all().skip(absent)
    }
}
