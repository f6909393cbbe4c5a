//! The profile gives back what was put in, however it is stored.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::SystemTime;

use firefinch_profile::{
    Frame, FrameId, FrameKind, LossReason, Meta, Process, Profile, Sample, StackId, Thread,
    ThreadId, ThreadState,
};
use proptest::prelude::*;

fn profile() -> Profile {
    let rate = NonZeroU32::new(100).unwrap();
    Profile::new(Meta::at_rate(rate, SystemTime::UNIX_EPOCH))
}

fn thread(profile: &mut Profile, tid: u32) -> ThreadId {
    let process = profile.add_process(Process {
        pid: 4242,
        name: "python app.py".into(),
    });
    profile.add_thread(Thread {
        process,
        tid,
        name: String::new(),
    })
}

fn frame(profile: &mut Profile, name: &str, line: u32) -> FrameId {
    let name = profile.intern_string(name);
    profile.intern_frame(Frame {
        line: NonZeroU32::new(line),
        ..Frame::new(name, FrameKind::Python)
    })
}

fn sample(thread: ThreadId, stack: StackId, weight_ns: u64) -> Sample {
    Sample {
        time_ns: 0,
        thread,
        stack,
        weight_ns,
        state: ThreadState::Running,
        holds_gil: true,
    }
}

proptest! {
    /// Strings come back as they were, and equal ones under one handle.
    #[test]
    fn strings_round_trip(strings in prop::collection::vec(".{0,6}", 0..200)) {
        let mut profile = profile();
        let ids: Vec<_> = strings.iter().map(|s| profile.intern_string(s)).collect();
        for (string, id) in strings.iter().zip(&ids) {
            prop_assert_eq!(profile.string(*id), string);
            prop_assert_eq!(profile.intern_string(string), *id);
        }
        let different: BTreeSet<_> = strings.iter().collect();
        let handles: BTreeSet<_> = ids.iter().collect();
        prop_assert_eq!(handles.len(), different.len());
    }

    /// Stacks come back from their innermost frame on, equal ones under one handle, and
    /// no prefix is stored twice.
    #[test]
    fn stacks_round_trip(stacks in prop::collection::vec(prop::collection::vec(0_u32..4, 1..12), 1..60)) {
        let mut profile = profile();
        let mut prefixes = BTreeSet::new();
        let mut seen = BTreeMap::new();
        for lines in &stacks {
            let frames: Vec<_> = lines.iter().map(|l| frame(&mut profile, "f", l + 1)).collect();
            let id = profile.intern_frames(frames.iter().copied()).unwrap();
            let up: Vec<_> = profile.leaf_to_root(id).collect();
            prop_assert!(up.iter().eq(frames.iter().rev()));
            prop_assert_eq!(profile.depth(id) as usize, frames.len());
            prop_assert_eq!(*seen.entry(lines.clone()).or_insert(id), id);
            prefixes.extend((1..=lines.len()).map(|n| lines[..n].to_vec()));
        }
        prop_assert_eq!(profile.stacks().len(), prefixes.len());
        for (id, stack) in profile.stacks() {
            prop_assert!(stack.parent.is_none_or(|parent| parent < id));
        }
    }

    /// Merging equal samples loses neither their number nor their weight, and
    /// keeps their order.
    #[test]
    fn weights_add_up(samples in prop::collection::vec((0_usize..3, 0_u32..3, any::<bool>(), 0_u64..1_000_000), 0..300)) {
        let mut profile = profile();
        let threads = [1, 2, 3].map(|tid| thread(&mut profile, tid));
        let mut expected: BTreeMap<usize, Vec<(u32, bool)>> = BTreeMap::new();
        for (at, (thread, line, holds_gil, weight)) in samples.iter().enumerate() {
            let frame = frame(&mut profile, "f", line + 1);
            let stack = profile.intern_stack(None, frame);
            let time_ns = at as u64;
            profile.add_sample(Sample {
                time_ns,
                holds_gil: *holds_gil,
                ..sample(threads[*thread], stack, *weight)
            });
            expected.entry(*thread).or_default().push((*line, *holds_gil));
        }
        let weight: u64 = samples.iter().map(|s| s.3).sum();
        let runs = || profile.samples().flat_map(|(_, runs)| runs);
        prop_assert_eq!(profile.sample_count(), samples.len() as u64);
        prop_assert_eq!(profile.weight_ns(), weight);
        prop_assert_eq!(runs().map(|r| r.count).sum::<u64>(), samples.len() as u64);
        prop_assert_eq!(runs().map(|r| r.weight_ns).sum::<u64>(), weight);
        for (at, id) in threads.into_iter().enumerate() {
            let mut unrolled = Vec::new();
            for run in profile.runs(id) {
                let line = profile.frame(profile.stack(run.stack).frame).line.unwrap().get() - 1;
                unrolled.extend((0..run.count).map(|_| (line, run.holds_gil)));
                prop_assert!(run.first_ns <= run.last_ns);
            }
            prop_assert_eq!(unrolled, expected.remove(&at).unwrap_or_default());
        }
    }

    /// The hottest functions are those that a plain count over all stacks
    /// finds, with recursion counted once for each stack.
    #[test]
    fn hottest_agrees_with_a_plain_count(stacks in prop::collection::vec((prop::collection::vec((0_u32..4, 1_u32..3), 1..8), 0_u64..1000), 1..60)) {
        let mut profile = profile();
        let thread = thread(&mut profile, 1);
        let (mut own, mut total) = (BTreeMap::new(), BTreeMap::new());
        let (mut count, mut by_line) = (BTreeMap::new(), BTreeMap::new());
        for (frames, weight) in &stacks {
            let ids: Vec<_> = frames.iter().map(|(f, line)| frame(&mut profile, &format!("f{f}"), *line)).collect();
            let stack = profile.intern_frames(ids).unwrap();
            profile.add_sample(sample(thread, stack, *weight));
            let (leaf, line) = frames[frames.len() - 1];
            *own.entry(leaf).or_insert(0) += weight;
            *count.entry(leaf).or_insert(0_u64) += 1;
            *by_line.entry((leaf, line)).or_insert(0) += weight;
            for function in frames.iter().map(|f| f.0).collect::<BTreeSet<_>>() {
                *total.entry(function).or_insert(0) += weight;
            }
        }
        let hottest = profile.hottest(usize::MAX);
        prop_assert_eq!(hottest.len(), own.len());
        for hot in &hottest {
            let function: u32 = profile.string(hot.frame.name)[1..].parse().unwrap();
            let line = hot.frame.line.unwrap().get();
            prop_assert_eq!(hot.self_ns, own[&function]);
            prop_assert_eq!(hot.total_ns, total[&function]);
            prop_assert_eq!(hot.samples, count[&function]);
            prop_assert_eq!(hot.line_ns, by_line[&(function, line)]);
            let most = by_line.iter().filter(|((f, _), _)| *f == function).map(|(_, ns)| *ns).max();
            prop_assert_eq!(Some(hot.line_ns), most);
        }
        prop_assert!(hottest.is_sorted_by(|a, b| a.self_ns >= b.self_ns));
        prop_assert_eq!(&profile.hottest(1)[..], &hottest[..1]);
        let mut total_of_line = BTreeMap::new();
        for (frames, weight) in &stacks {
            for line in frames.iter().collect::<BTreeSet<_>>() {
                *total_of_line.entry(*line).or_insert(0) += weight;
            }
        }
        let lines = profile.times(|frame| frame);
        prop_assert_eq!(lines.len(), total_of_line.len());
        for times in &lines {
            let function: u32 = profile.string(times.frame.name)[1..].parse().unwrap();
            let line = (function, times.frame.line.unwrap().get());
            prop_assert_eq!(times.total_ns, total_of_line[&line]);
            prop_assert_eq!(times.own_ns, by_line.get(&line).copied().unwrap_or(0));
        }
    }
}

/// A recursion of 20,000 frames, seen at every one of its depths, is walked,
/// counted and dropped without recursing, and costs one node for each frame.
#[test]
fn deep_recursion_is_no_problem() {
    let mut profile = profile();
    let thread = thread(&mut profile, 1);
    let outer = frame(&mut profile, "main", 1);
    let inner = frame(&mut profile, "walk", 7);
    let mut stack = profile.intern_stack(None, outer);
    for _ in 1..20_000 {
        stack = profile.intern_stack(Some(stack), inner);
        profile.add_sample(sample(thread, stack, 10));
    }
    assert_eq!(profile.depth(stack), 20_000);
    assert_eq!(profile.leaf_to_root(stack).len(), 20_000);
    assert_eq!(profile.leaf_to_root(stack).last(), Some(outer));
    assert_eq!(profile.stacks().len(), 20_000);
    let hottest = profile.hottest(5);
    assert_eq!(hottest.len(), 1);
    assert_eq!(profile.string(hottest[0].frame.name), "walk");
    assert_eq!(hottest[0].self_ns, 199_990);
    assert_eq!(hottest[0].total_ns, 199_990);
}

/// A million samples of threads that stand still take no more memory than one
/// sample of each.
#[test]
fn idle_threads_cost_little() {
    let mut profile = profile();
    let threads: Vec<_> = (1..=100).map(|tid| thread(&mut profile, tid)).collect();
    let wait = frame(&mut profile, "wait", 1);
    let stack = profile.intern_stack(None, wait);
    let mut once = 0;
    for tick in 0..10_000_u64 {
        for &thread in &threads {
            let time_ns = tick * 10_000_000;
            profile.add_sample(Sample {
                time_ns,
                ..sample(thread, stack, 10_000_000)
            });
        }
        if tick == 0 {
            once = profile.memory_estimate();
        }
    }
    assert_eq!(profile.sample_count(), 1_000_000);
    assert_eq!(profile.memory_estimate(), once);
    let run = profile.runs(threads[7])[0];
    assert_eq!((run.count, run.last_ns), (10_000, 99_990_000_000));
}

/// A change of state alone begins a new run: it must not be merged away.
#[test]
fn states_are_kept_apart() {
    let mut profile = profile();
    let thread = thread(&mut profile, 1);
    let frame = frame(&mut profile, "f", 1);
    let stack = profile.intern_stack(None, frame);
    let poll = profile.intern_string("poll");
    let states = [
        ThreadState::Running,
        ThreadState::Waiting(None),
        ThreadState::Waiting(Some(poll)),
        ThreadState::WaitingForGil,
    ];
    for state in states {
        profile.add_sample(Sample {
            state,
            ..sample(thread, stack, 1)
        });
    }
    let seen: Vec<_> = profile.runs(thread).iter().map(|r| r.state).collect();
    assert_eq!(seen, states);
}

/// Each reason has a counter of its own, and the most frequent is named first.
#[test]
fn losses_are_counted_by_reason() {
    let mut profile = profile();
    for (n, reason) in (1..).zip(LossReason::ALL) {
        profile.lose(reason, n);
    }
    for (n, reason) in (1..).zip(LossReason::ALL) {
        assert_eq!(profile.losses().get(reason), n);
    }
    let n = LossReason::ALL.len() as u64;
    assert_eq!(profile.losses().total(), n * (n + 1) / 2);
    assert_eq!(profile.losses().by_count()[0], (LossReason::Other, n));
}

/// Two files may hold functions of the same name: they are two functions.
#[test]
fn functions_of_one_name_are_told_apart_by_file() {
    let mut profile = profile();
    let thread = thread(&mut profile, 1);
    let name = profile.intern_string("run");
    for (file, weight) in [("/a.py", 3), ("/b.py", 5)] {
        let file = Some(profile.intern_string(file));
        let frame = profile.intern_frame(Frame {
            file,
            ..Frame::new(name, FrameKind::Python)
        });
        let stack = profile.intern_stack(None, frame);
        profile.add_sample(sample(thread, stack, weight));
    }
    let own: Vec<_> = profile.hottest(9).iter().map(|h| h.self_ns).collect();
    assert_eq!(own, [5, 3]);
}

/// A frame becomes several wherever it stands, those that become equal are one, and every sample has its stack.
#[test]
fn frames_are_replaced() {
    let mut profile = profile();
    let thread = thread(&mut profile, 1);
    let [main, first, second, leaf] =
        [("main", 1), ("?", 1), ("?", 2), ("leaf", 1)].map(|(n, l)| frame(&mut profile, n, l));
    for (frames, weight) in [
        (vec![main, first], 1),
        (vec![main, second], 2),
        (vec![main, first, leaf], 4),
    ] {
        let stack = profile.intern_frames(frames).unwrap();
        profile.add_sample(sample(thread, stack, weight));
    }
    profile.replace_frames(|profile, frame| {
        if profile.string(frame.name) != "?" {
            return Vec::new();
        }
        let named = ["outer", "inner"].map(|name| Frame {
            line: None,
            name: profile.intern_string(name),
            ..frame
        });
        named.to_vec()
    });
    let name = |frame| profile.string(profile.frame(frame).name);
    let seen = profile.samples().flat_map(|(_, runs)| runs).map(|run| {
        let mut names: Vec<_> = profile.leaf_to_root(run.stack).map(name).collect();
        names.reverse();
        (names.join(" "), run.weight_ns)
    });
    let expected = [("main outer inner", 1), ("main outer inner", 2)];
    let expected = [&expected[..], &[("main outer inner leaf", 4)]].concat();
    let expected = expected.into_iter().map(|(names, w)| (names.to_owned(), w));
    assert_eq!(seen.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert_eq!(profile.frames().len(), 4);
    assert_eq!(profile.stacks().len(), 4);
}
