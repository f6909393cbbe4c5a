use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use firefinch_profile::{Frame, Meta, Profile, StringId};

use super::slice::{Slice, Status};
use super::table::{Entry, Grouping, Spent, Table};
use super::totals::Totals;

/// How much time a slice stands for, about.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// Of so many slices shares are shown: two seconds, in which a program at a
/// hundred ticks a second is seen two hundred times.
pub(super) const RECENT: usize = 4;

/// By what the rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Column {
    #[default]
    OwnShare,
    TotalShare,
    OwnTime,
    TotalTime,
}

/// Everything that is known: sums by function and line, of the last seconds and
/// of all the time. Grows with functions and lines that are seen for the first
/// time, and with nothing else.
#[derive(Clone, Debug)]
pub(super) struct Data {
    /// Names of frames, of all slices there were; it has no samples.
    names: Profile,
    functions: Table,
    lines: Table,
    slices: VecDeque<Totals>,
    all: Totals,
    status: Status,
    /// What had passed, and what we had used, before the first slice.
    began: (Duration, Duration),
}

impl Data {
    /// Nothing yet, of a recording that has got so far.
    pub(super) fn since(status: Status) -> Self {
        let meta = Meta::at_rate(NonZeroU32::MIN, SystemTime::UNIX_EPOCH);
        Self {
            names: Profile::new(meta),
            functions: Table::default(),
            lines: Table::default(),
            slices: VecDeque::new(),
            all: Totals::default(),
            began: (status.elapsed, status.own_cpu),
            status,
        }
    }

    /// Takes in what came next.
    pub(super) fn add(&mut self, slice: &Slice) {
        let Slice { profile, status } = slice;
        let own_cpu = status.own_cpu.saturating_sub(self.status.own_cpu);
        let own_cpu_ns = u64::try_from(own_cpu.as_nanos()).unwrap_or(u64::MAX);
        let totals = Totals::of(profile, own_cpu_ns);
        self.status = status.clone();
        self.names.meta = profile.meta.clone();
        let functions = self.spent(profile, Frame::function);
        let lines = self.spent(profile, |frame| Frame {
            inlined: false,
            ..frame
        });
        self.functions.add(&functions);
        self.lines.add(&lines);
        for (line, _) in &lines {
            let spent = self.lines.spent(line);
            self.functions.offer_line(&line.function(), line, spent);
        }
        self.all.add(&totals);
        self.slices.push_back(totals);
        while self.slices.len() > RECENT {
            self.slices.pop_front();
            self.functions.age();
            self.lines.age();
        }
    }

    /// The time of each group of frames, by our own names.
    fn spent(&mut self, profile: &Profile, key: fn(Frame) -> Frame) -> Vec<(Frame, Spent)> {
        let times = profile.times(key).into_iter();
        let spent = times.filter(|times| times.total_ns > 0).map(|times| {
            let spent = Spent {
                own: times.own_ns,
                total: times.total_ns,
            };
            (self.adopt(profile, &times.frame), spent)
        });
        spent.collect()
    }

    /// A frame of another profile by our own names.
    fn adopt(&mut self, profile: &Profile, frame: &Frame) -> Frame {
        let mut string = |id: StringId| self.names.intern_string(profile.string(id));
        Frame {
            name: string(frame.name),
            qualified_name: frame.qualified_name.map(&mut string),
            file: frame.file.map(&mut string),
            short_file: frame.short_file.map(&mut string),
            module: frame.module.map(&mut string),
            ..*frame
        }
    }

    /// Gives functions names that have become known late.
    pub(super) fn rename_functions(&mut self, names: &HashMap<Arc<str>, Arc<str>>) {
        let strings = names.iter().map(|(old, new)| {
            let old = self.names.intern_string(old);
            (old, self.names.intern_string(new))
        });
        let strings: HashMap<StringId, StringId> = strings.collect();
        let rename = |frame: Frame| Frame {
            name: strings.get(&frame.name).copied().unwrap_or(frame.name),
            ..frame
        };
        self.functions.rename(rename);
        self.lines.rename(rename);
    }

    /// Where the names of [`rows`](Self::rows) are.
    pub(super) fn names(&self) -> &Profile {
        &self.names
    }

    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// The sums of the last seconds.
    pub(super) fn recent(&self) -> Totals {
        let mut recent = Totals::default();
        for slice in &self.slices {
            recent.add(slice);
        }
        recent
    }

    /// How many slices are kept.
    #[cfg(test)]
    pub(super) fn kept_slices(&self) -> usize {
        self.slices.len()
    }

    /// The sums since the start.
    pub(super) fn all(&self) -> &Totals {
        &self.all
    }

    /// How long it has been since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.status.elapsed.saturating_sub(self.began.0)
    }

    /// All rows, the largest first; of equal ones the one that was seen first.
    pub(super) fn rows(&self, grouping: Grouping, column: Column) -> Vec<Entry> {
        let table = match grouping {
            Grouping::Functions => &self.functions,
            Grouping::Lines => &self.lines,
        };
        let mut rows = table.entries().to_vec();
        let by = |entry: &Entry| match column {
            Column::OwnShare => entry.recent.own,
            Column::TotalShare => entry.recent.total,
            Column::OwnTime => entry.all.own,
            Column::TotalTime => entry.all.total,
        };
        rows.sort_by_key(|entry| Reverse((by(entry), entry.recent, entry.all)));
        rows
    }
}
