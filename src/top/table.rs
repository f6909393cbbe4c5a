use std::collections::{HashMap, VecDeque};

use firefinch_profile::Frame;

/// What a row is about: a function, or one line of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Grouping {
    #[default]
    Functions,
    Lines,
}

/// Time with something innermost, and with it anywhere in the stack, in
/// nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spent {
    pub(super) own: u64,
    pub(super) total: u64,
}

impl Spent {
    fn add(&mut self, other: Self) {
        self.own = self.own.saturating_add(other.own);
        self.total = self.total.saturating_add(other.total);
    }

    fn take_away(&mut self, other: Self) {
        self.own = self.own.saturating_sub(other.own);
        self.total = self.total.saturating_sub(other.total);
    }
}

/// One row: what it is about, and its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// A function, or one of its lines.
    pub(super) frame: Frame,
    pub(super) recent: Spent,
    pub(super) all: Spent,
    /// Of a function the time of the line that `frame` stands at.
    line: Spent,
}

/// The rows of one grouping. Grows with what is seen for the first time.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    numbers: HashMap<Frame, usize>,
    entries: Vec<Entry>,
    /// What each recent slice has added.
    recent: VecDeque<Vec<(usize, Spent)>>,
}

impl Table {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a slice.
    pub(super) fn add(&mut self, spent: &[(Frame, Spent)]) {
        let mut added = Vec::with_capacity(spent.len());
        for (frame, spent) in spent {
            let number = *self.numbers.entry(*frame).or_insert(self.entries.len());
            if number == self.entries.len() {
                self.entries.push(Entry {
                    frame: *frame,
                    recent: Spent::default(),
                    all: Spent::default(),
                    line: Spent::default(),
                });
            }
            if let Some(entry) = self.entries.get_mut(number) {
                entry.recent.add(*spent);
                entry.all.add(*spent);
                added.push((number, *spent));
            }
        }
        self.recent.push_back(added);
    }

    /// The oldest slice is not recent any more.
    pub(super) fn age(&mut self) {
        for (number, spent) in self.recent.pop_front().into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(number) {
                entry.recent.take_away(spent);
            }
        }
    }

    /// Gives what rows are about other names. Rows that become equal stay apart.
    pub(super) fn rename(&mut self, rename: impl Fn(Frame) -> Frame) {
        for entry in &mut self.entries {
            entry.frame = rename(entry.frame);
        }
        let numbers = std::mem::take(&mut self.numbers).into_iter();
        self.numbers = numbers.map(|(key, at)| (rename(key), at)).collect();
    }

    /// The time of one row since the start.
    pub(super) fn spent(&self, frame: &Frame) -> Spent {
        let number = self.numbers.get(frame);
        let entry = number.and_then(|number| self.entries.get(*number));
        entry.map_or(Spent::default(), |entry| entry.all)
    }

    /// Has a function stand at this line of it if none has more time. Times only
    /// grow, so whoever tells of each line that has grown finds the hottest.
    pub(super) fn offer_line(&mut self, function: &Frame, line: &Frame, spent: Spent) {
        let number = self.numbers.get(function);
        let entry = number.and_then(|number| self.entries.get_mut(*number));
        if let Some(entry) = entry
            && entry.line <= spent
        {
            entry.line = spent;
            entry.frame.line = line.line;
        }
    }
}
