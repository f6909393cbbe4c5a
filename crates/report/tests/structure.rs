//! What a picture must hold whatever the profile: widths that are true,
//! well-formed XML, and a size that can be looked at.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are tests"
)]

mod common;

use std::fmt::Write;

use common::describe::describe;
use common::picture::Picture;
use common::render;
use firefinch_report::{Format, Style};
use proptest::prelude::*;

fn picture(text: &str) -> Picture {
    let (profile, style) = describe(text);
    Picture::read(&render(&profile, Format::Flamegraph, &style))
}

/// Titles say what was recorded and how well, and each width is its share of
/// the samples.
#[test]
fn widths_are_shares() {
    let picture = picture(
        "target python app.py\nduration 10\nmissed 1\n\
         600 main@a.py:1 > slow@a.py:9\n300 main@a.py:1 > fast@a.py:4\n100 main@a.py:1",
    );
    assert_eq!(picture.title, "python app.py");
    assert_eq!(picture.text("title"), "python app.py");
    assert_eq!(
        picture.text("subtitle"),
        "10.0 s at 100 Hz · 1,000 samples · 0 lost · 1 tick missed"
    );
    for (label, share) in [
        ("main (a.py:1)", 100.0),
        ("slow (a.py:9)", 60.0),
        ("fast (a.py:4)", 30.0),
    ] {
        let block = picture.block(label);
        assert!((block.percent - share).abs() < 0.001, "{block:?}");
        assert!(block.hover.contains(&format!("{share:.2}%")), "{block:?}");
    }
}

/// A late tick weighs more: what a function took is its time, not how often
/// it was met.
#[test]
fn weight_is_time() {
    let picture = picture("1.5 main > a\n4.5 main > b");
    let (a, b) = (picture.block("a"), picture.block("b"));
    assert_eq!((a.width, b.width), (2, 5));
}

/// A recursion of 20,000 frames is drawn at a height that can be scrolled
/// through, with all of its time, both of its ends, and the number of frames
/// left out; collapsed it is whole.
#[test]
fn deep_recursion_stays_usable() {
    let text = "30 main@t.py:1 > walk@t.py:5 x19998 > leaf@t.py:9\n\
                10 main@t.py:1 > walk@t.py:5 x15000\n\
                60 main@t.py:1 > walk@t.py:5 x3 > leaf@t.py:9";
    let picture = picture(text);
    assert!(picture.height < 6_000, "{}", picture.height);
    let main = picture.block("main (t.py:1)");
    assert_eq!((main.start, main.width), (0, 100));
    let gap = picture.block("(14,702 to 19,701 frames not drawn, mostly walk (t.py:5))");
    assert_eq!((gap.depth, gap.width), (201, 40));
    let leaves = picture
        .blocks
        .iter()
        .filter(|b| b.label() == "leaf (t.py:9)");
    let mut widths: Vec<_> = leaves.map(|b| (b.depth, b.width)).collect();
    widths.sort_unstable();
    assert_eq!(widths, [(5, 60), (300, 30)]);

    let (profile, style) = describe(text);
    let collapsed = render(&profile, Format::Collapsed, &style);
    let mut depths: Vec<_> = collapsed.lines().map(|l| l.split(';').count()).collect();
    depths.sort_unstable();
    assert_eq!(depths, [5, 15_001, 20_000]);
}

/// A hundred thousand different stacks make a picture of bounded size in which
/// no time is missing.
#[test]
fn many_stacks_stay_drawable() {
    let mut text = String::from("100000 main > hot\n");
    for at in 0..100_000 {
        writeln!(text, "1 main > spread > f{}@g.py:{}", at % 500, at + 1).unwrap();
    }
    let (profile, style) = describe(&text);
    let svg = render(&profile, Format::Flamegraph, &style);
    let picture = Picture::read(&svg);
    assert_eq!(picture.block("main").width, 200_000);
    assert_eq!(picture.block("spread").width, 100_000);
    assert!(picture.blocks.len() < 20_000, "{}", picture.blocks.len());
    let collapsed = render(&profile, Format::Collapsed, &style);
    assert_eq!(collapsed.lines().count(), 100_001);
}

/// Three shades of whose code it is; every line of a function has the same.
#[test]
fn colours_tell_origins_apart() {
    let picture = picture(
        "file lib.py /venv/lib/python3.12/site-packages/lib.py\n\
         file json.py /usr/lib/python3.12/json.py\n\
         1 f@app.py:1 > g@lib.py:1 > h@json.py:1\n1 f@app.py:2",
    );
    let color = |label| picture.block(label).color.clone();
    assert_eq!(color("f (app.py:1)"), color("f (app.py:2)"));
    assert_ne!(color("f (app.py:1)"), color("g (lib.py:1)"));
    assert_ne!(color("g (lib.py:1)"), color("h (json.py:1)"));
    let legend: Vec<_> = picture.text("legend").split('■').map(str::trim).collect();
    assert_eq!(legend, ["", "application", "packages", "standard library"]);
}

proptest! {
    /// Whatever the names, the XML is well-formed, every stack is there with
    /// its whole count in both formats, and a line is one stack.
    #[test]
    fn hostile_names_break_nothing(stacks in prop::collection::vec(
        prop::collection::vec("(.|[;\\\\ \n<>&\"'#0-9\u{0}\u{ffff}\u{202e}]){0,5}", 1..5), 1..12)) {
        let (mut profile, _) = describe("");
        let process = profile.add_process(firefinch_profile::Process {
            pid: 1,
            name: stacks[0][0].clone(),
        });
        let thread = profile.add_thread(firefinch_profile::Thread {
            process,
            tid: 2,
            name: stacks[0][0].clone(),
        });
        profile.meta.target.clone_from(&stacks[0][0]);
        let interval = profile.meta.interval_ns.get();
        for names in &stacks {
            let frames: Vec<_> = names.iter().map(|name| {
                let name = profile.intern_string(name);
                let kind = firefinch_profile::FrameKind::Native;
                profile.intern_frame(firefinch_profile::Frame::new(name, kind))
            }).collect();
            let stack = profile.intern_frames(frames).unwrap();
            profile.add_sample(firefinch_profile::Sample {
                time_ns: 0,
                thread,
                stack,
                weight_ns: interval,
                state: firefinch_profile::ThreadState::Unknown,
                holds_gil: false,
            });
        }
        let style = Style { thread_roots: true, ..Style::default() };
        let picture = Picture::read(&render(&profile, Format::Flamegraph, &style));
        let samples = stacks.len() as u64;
        prop_assert_eq!(picture.blocks[0].width, samples);
        let drawn = picture.blocks.iter().map(|b| b.depth).max();
        prop_assert_eq!(drawn, stacks.iter().map(|s| s.len() as u32 + 1).max());

        let collapsed = render(&profile, Format::Collapsed, &style);
        let mut sum = 0;
        for line in collapsed.lines() {
            let (stack, count) = line.rsplit_once(' ').unwrap();
            let depth = stack.split(';').count() - 1;
            prop_assert!(stacks.iter().any(|s| s.len() == depth), "{}", line);
            sum += count.parse::<u64>().unwrap();
        }
        prop_assert_eq!(sum, samples);
    }
}
