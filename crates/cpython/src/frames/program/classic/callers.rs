//! Where a function calls another, and where it never does.

use firefinch_memory::RemoteAddr;

use crate::frames::program::calls::Symbol;
use crate::frames::program::operators::is_method;
use crate::frames::program::{Callee, Code};

impl Code {
    /// Where it stands while it calls `callee`, which is `to`, by a name that is
    /// no other thing's: a variable may hold any function, and an attribute need
    /// not be a property.
    pub(in crate::frames) fn surely_calls_to<'a>(
        &'a self,
        callee: RemoteAddr,
        to: &'a Self,
    ) -> impl Iterator<Item = u32> + 'a {
        let places = self.calls_to(callee, to);
        let places = places.filter(|place| self.calls_surely(*place));
        places.chain(self.consumers(callee, to))
    }

    /// Where it calls what goes through a generator expression that it has just made:
    /// the next call, as in `sum(x for x in y)`.
    fn consumers<'a>(&'a self, made: RemoteAddr, of: &'a Self) -> impl Iterator<Item = u32> + 'a {
        // Nobody looks through all of the calls of others for one.
        let count = if of.is_generator { usize::MAX } else { 0 };
        let calls = self.calls.instructions.iter().zip(&self.sites);
        let mut calls = calls
            .filter(|(call, _)| !call.is_load)
            .take(count)
            .peekable();
        std::iter::from_fn(move || {
            while let Some((_, site)) = calls.next() {
                let is_made = site.callee == Callee::Code(made);
                if let Some((next, _)) = calls.peek()
                    && is_made
                    && !site.resumes
                    && !next.resumes
                {
                    return Some(next.offset);
                }
            }
            None
        })
    }

    /// Whether the instruction at `offset` does.
    pub(in crate::frames) fn consumes(&self, offset: u32, made: RemoteAddr, of: &Self) -> bool {
        self.consumers(made, of).any(|place| place == offset)
    }

    /// Whether the instruction at `offset` calls certain methods only, and `to` is none.
    pub(in crate::frames) fn never_calls(&self, offset: u32, to: &Self) -> bool {
        let operators = &self.calls.operators;
        let index = operators.binary_search_by_key(&offset, |(at, _)| *at);
        let operator = index.ok().and_then(|index| operators.get(index));
        operator.is_some_and(|(_, methods)| !methods.contains(&&*to.name))
    }

    /// Where it may call `to`, if that is a method which is called for what is done with
    /// its object: by an operator, or if there is none of its kind, out of C code, unless
    /// `is_other` says that something else is called there.
    pub(in crate::frames) fn operates_on(
        &self,
        to: &Self,
        is_other: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        if !is_method(&to.name) {
            return Vec::new();
        }
        let operators = self.calls.operators.iter();
        let operators = operators.filter(|(_, methods)| methods.contains(&&*to.name));
        let operators: Vec<_> = operators.map(|(at, _)| *at).collect();
        if !operators.is_empty() {
            return operators;
        }
        let calls = self.calls.instructions.iter();
        let calls = calls.filter(|call| !call.is_load && !call.resumes);
        calls
            .map(|call| call.offset)
            .filter(|at| !is_other(*at))
            .collect()
    }

    /// Whether `to` is a method that the instruction at `offset` never calls, nor C code
    /// for it.
    pub(in crate::frames) fn never_operates(&self, offset: u32, to: &Self) -> bool {
        is_method(&to.name) && (self.is_quiet(offset) || self.never_calls(offset, to))
    }

    /// Whether the instruction at `offset` calls what its name says, if it has one,
    /// and nothing else.
    pub(in crate::frames) fn calls_surely(&self, offset: u32) -> bool {
        let calls = &self.calls.instructions;
        let index = calls.binary_search_by_key(&offset, |call| call.offset);
        let call = index.ok().and_then(|index| calls.get(index));
        call.is_some_and(|call| {
            !call.is_load && !matches!(call.callee, Some(Symbol::Local(_) | Symbol::Cell(_)))
        })
    }
}
