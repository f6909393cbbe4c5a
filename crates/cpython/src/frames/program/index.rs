//! Which sites of a function call whom: looked up at each sample, and of tens of
//! thousands in generated code.

use std::sync::Arc;

use firefinch_memory::RemoteAddr;
use hashbrown::HashMap;

use super::{Callee, Site};

/// The sites of one code object, as numbers in ascending order, by whom they call.
#[derive(Debug, Default)]
pub(super) struct Index {
    named: HashMap<Arc<str>, Vec<u32>>,
    made: HashMap<RemoteAddr, Vec<u32>>,
    /// Those whose name may be one that its class is part of (`_Py_Mangle`).
    mangled: Vec<u32>,
}

impl Index {
    pub(super) fn of(sites: &[Site]) -> Self {
        let mut index = Self::default();
        for (number, site) in (0..).zip(sites) {
            match &site.callee {
                Callee::Named(name) => {
                    if name.starts_with('_') && !name.ends_with("__") {
                        index.mangled.push(number);
                    }
                    index.named.entry(name.clone()).or_default().push(number);
                }
                Callee::Code(code) => index.made.entry(*code).or_default().push(number),
                Callee::Unknown => {}
            }
        }
        index
    }

    /// The sites among which all are that may call the code object at `code`, whose name
    /// is `name`. One may be among them twice.
    pub(super) fn candidates(&self, code: RemoteAddr, name: &str) -> impl Iterator<Item = usize> {
        let is_private = name.starts_with("__") && !name.ends_with("__");
        let mangled = is_private.then_some(&self.mangled);
        let found = [self.named.get(name), self.made.get(&code), mangled];
        let found = found.into_iter().flatten().flatten();
        found.filter_map(|number| usize::try_from(*number).ok())
    }

    /// Bytes that it takes, about.
    pub(super) fn weight(&self) -> usize {
        let named = self.named.values().map(Vec::len).sum::<usize>();
        let made = self.made.values().map(Vec::len).sum::<usize>();
        let numbers = named + made + self.mangled.len();
        // Tables are at least half full, and vectors as well.
        let keys = self.named.len() + self.made.len();
        2 * (numbers * size_of::<u32>() + keys * size_of::<(Arc<str>, Vec<u32>)>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each site is found by whom it calls, one of a private method by the name that the
    /// method has, and no more than those are looked at.
    #[test]
    fn sites_are_found_by_their_callee() {
        let made = RemoteAddr::new(0x1000);
        let callees = [
            Callee::Named("f".into()),
            Callee::Named("_Class__own".into()),
            Callee::Code(made),
            Callee::Unknown,
            Callee::Named("f".into()),
            Callee::Named("__init__".into()),
        ];
        let site = |(offset, callee): (u32, &Callee)| Site {
            offset,
            stands: offset,
            callee: callee.clone(),
            resumes: false,
            cache: None,
        };
        let sites: Vec<_> = (0..).zip(&callees).map(site).collect();
        let index = Index::of(&sites);
        let found = |code, name: &str| index.candidates(code, name).collect::<Vec<_>>();
        assert_eq!(found(RemoteAddr::NULL, "f"), [0, 4]);
        assert_eq!(found(RemoteAddr::NULL, "__own"), [1]);
        assert_eq!(found(made, "<lambda>"), [2]);
        assert_eq!(found(RemoteAddr::NULL, "__init__"), [5]);
        assert!(found(RemoteAddr::NULL, "g").is_empty());
    }
}
