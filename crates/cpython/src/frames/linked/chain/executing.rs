//! What was executing when it was copied, whoever was the newest a moment before.

use hashbrown::{HashMap, HashSet};

use super::{Chain, Seen};

/// Frames without a callee in one copy: hardly more than one runs, others have gone on.
const MAX_NEWEST: usize = 16;

impl Chain {
    /// The longest chain of frames that were executing when the last look copied them,
    /// newest first, down to one without a caller: whoever the thread ran a moment before.
    pub(in crate::frames::linked) fn executing(&self) -> Vec<Seen> {
        let mut all = HashMap::with_capacity(self.copies.starts.len());
        for addr in self.copies.starts.keys() {
            if let Some((seen, back)) = self.copied(*addr)
                && seen.lives
            {
                all.insert(*addr, (seen, back));
            }
        }
        let callers: HashSet<_> = all.values().map(|(_, back)| *back).collect();
        let newest = all.keys().filter(|addr| !callers.contains(*addr));
        let chains = newest.take(MAX_NEWEST).filter_map(|newest| {
            let mut chain = Vec::new();
            let mut addr = *newest;
            while !addr.is_null() && chain.len() < all.len() {
                let (seen, back) = all.get(&addr)?;
                chain.push(*seen);
                addr = *back;
            }
            // Frames that are kept for one function serve all threads in turn.
            let is_own = chain.last().map(|seen| seen.frame.addr) == self.root;
            (addr.is_null() && is_own).then_some(chain)
        });
        chains.max_by_key(Vec::len).unwrap_or_default()
    }
}
