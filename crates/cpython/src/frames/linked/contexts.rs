//! Below whom a function calls what it is given.

use firefinch_memory::RemoteAddr;
use hashbrown::HashMap;

use super::chain::Seen;

/// How often functions were executing above each other, three in a row.
///
/// Whom a decorator's wrapper calls depends on who has called it, and the bytecode
/// of neither says so. A copy in which its frame has been given to another call
/// meanwhile joins a caller and a callee that have nothing to do with each other, by
/// two calls that the program makes.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    rows: HashMap<[RemoteAddr; 3], u32>,
    /// How often each callee was met above each caller, below anybody.
    callees: HashMap<[RemoteAddr; 2], u32>,
    /// How often each caller was met above its own, whatever it called.
    callers: HashMap<[RemoteAddr; 2], u32>,
    /// How often each row stood when it was looked at alone, and how often it did not.
    tries: HashMap<[RemoteAddr; 3], [u32; 2]>,
}

/// Remembered before starting anew.
const MAX_ROWS: usize = 1 << 16;
/// Newest calls of a chain that are taken in: what lies deeper was new once.
const MAX_NEWEST: usize = 64;
/// Times that a row must have stood.
const STOOD: u32 = 4;
/// A row is odd if it is less than this part of what was met of both its pairs.
const ODD_PART: u32 = 8;

impl Contexts {
    /// Whether there was no need to know any yet.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes in a chain of frames that were executing, newest first.
    pub(super) fn meet(&mut self, chain: &[Seen]) {
        if self.rows.len() >= MAX_ROWS {
            *self = Self::default();
        }
        for row in chain.windows(3).take(MAX_NEWEST) {
            let [callee, caller, below] = [0, 1, 2].map(|at| row[at].frame.code);
            let counts = [
                self.rows.entry([callee, caller, below]).or_default(),
                self.callees.entry([callee, caller]).or_default(),
                self.callers.entry([caller, below]).or_default(),
            ];
            for count in counts {
                *count = count.saturating_add(1);
            }
        }
    }

    /// This row stood when it was looked at alone, or did not.
    pub(super) fn prove(&mut self, row: &[Seen; 3], stands: bool) {
        if self.tries.len() >= MAX_ROWS {
            self.tries.clear();
        }
        let tries = self.tries.entry(row.map(|seen| seen.frame.code));
        let [stood, gone] = tries.or_default();
        let times = if stands { stood } else { gone };
        *times = times.saturating_add(1);
    }

    /// Whether a row stood a few times, and no less often than not: what comes and goes is
    /// met so by chance only.
    fn is_proved(&self, row: &[RemoteAddr; 3]) -> bool {
        let tries = self.tries.get(row);
        tries.is_some_and(|[stood, gone]| *stood >= STOOD && stood >= gone)
    }

    /// Whether `caller` calls `callee`, and is called by `below`, but hardly ever both
    /// at once.
    pub(super) fn is_odd(&self, callee: &Seen, caller: &Seen, below: &Seen) -> bool {
        let [callee, caller, below] = [callee, caller, below].map(|seen| seen.frame.code);
        if self.is_proved(&[callee, caller, below]) {
            return false;
        }
        let row = self.rows.get(&[callee, caller, below]).copied();
        let row = row.unwrap_or(0).saturating_mul(ODD_PART);
        let is_less = |pair: Option<&u32>| pair.is_some_and(|times| row < *times);
        is_less(self.callees.get(&[callee, caller])) && is_less(self.callers.get(&[caller, below]))
    }
}
