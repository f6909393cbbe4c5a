//! The live view without a terminal: sums of known samples, and the picture.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use firefinch_profile::{
    Frame, FrameKind, LossReason, Meta, Process, Profile, Sample, Thread, ThreadState,
};
use firefinch_report::Style;
use firefinch_sampler::Whom;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::app::{App, Request};
use super::data::{Column, Data};
use super::plain::{ROOMY, table};
use super::slice::{Slice, Status};
use super::table::Grouping;
use super::view::draw;
use super::words::{Span, subject};

const MS: u64 = 1_000_000;

/// A stack, the outermost frame first, as function and line, and its milliseconds.
type Seen<'a> = (&'a [(&'a str, u32)], u64);

/// Half a second of a process with two threads, of which one was seen at these.
fn slice(number: u32, seen: &[Seen<'_>]) -> Slice {
    let rate = NonZeroU32::new(100).unwrap();
    let mut profile = Profile::new(Meta::at_rate(rate, SystemTime::UNIX_EPOCH));
    let process = profile.add_process(Process {
        pid: 42,
        name: String::new(),
    });
    let thread = profile.add_thread(Thread {
        process,
        tid: 42,
        name: String::new(),
    });
    (0..50).for_each(|_| profile.tick());
    for (frames, milliseconds) in seen {
        let frames: Vec<_> = frames
            .iter()
            .map(|(name, line)| {
                let file = profile.intern_string("shop/app.py");
                let frame = Frame {
                    file: Some(file),
                    line: NonZeroU32::new(*line),
                    first_line: NonZeroU32::new(line / 10 * 10),
                    ..Frame::new(profile.intern_string(name), FrameKind::Python)
                };
                profile.intern_frame(frame)
            })
            .collect();
        let stack = profile.intern_frames(frames).unwrap();
        profile.add_sample(Sample {
            time_ns: 0,
            thread,
            stack,
            weight_ns: milliseconds * MS,
            state: ThreadState::Running,
            holds_gil: true,
        });
    }
    let halves = |n: u32| Duration::from_millis(500) * n;
    let status = Status {
        target: "python3.11 (PID 42)".to_owned(),
        python: Some("Python 3.11.7".to_owned()),
        has_gil: true,
        threads: 2,
        processes: 1,
        whom: Whom::default(),
        elapsed: halves(number + 1),
        own_cpu: halves(number + 1) / 100,
    };
    Slice { profile, status }
}

fn app(slices: &[&[Seen<'_>]]) -> App {
    let mut app = App::new(Style::default(), Whom::default());
    for (number, seen) in (0..).zip(slices) {
        app.add(&slice(number, seen));
    }
    app
}

/// What is said of each row: its subject, own and total milliseconds of the last
/// seconds, and of all the time.
fn rows(app: &App) -> Vec<(String, [u64; 4])> {
    let data = app.shown();
    let style = app.label_style();
    let row = |entry: &super::table::Entry| {
        let (recent, all) = (entry.recent, entry.all);
        let sums = [recent.own, recent.total, all.own, all.total].map(|ns| ns / MS);
        (subject(data.names(), &style, entry, 80), sums)
    };
    app.rows().iter().map(row).collect()
}

fn press(app: &mut App, code: KeyCode) -> Request {
    app.press(&KeyEvent::new(code, KeyModifiers::NONE))
}

/// Time is summed by function, which stands at its hottest line, and by line; a
/// recursion counts once.
#[test]
fn sums() {
    let main = ("main", 31);
    let mut app = app(&[&[
        (&[main, ("walk", 12)], 100),
        (&[main, ("walk", 12), ("walk", 13), ("walk", 12)], 200),
        (&[main, ("walk", 12), ("walk", 12), ("walk", 15)], 50),
        (&[("main", 33)], 20),
    ]]);
    let row = |label: &str, own, total| (label.to_owned(), [own, total, own, total]);
    assert_eq!(
        rows(&app),
        [
            row("walk (shop/app.py:12)", 350, 350),
            row("main (shop/app.py:33)", 20, 370),
        ]
    );
    press(&mut app, KeyCode::Char('t'));
    assert_eq!(
        rows(&app),
        [
            row("walk (shop/app.py:12)", 300, 350),
            row("walk (shop/app.py:15)", 50, 50),
            row("main (shop/app.py:33)", 20, 20),
            row("main (shop/app.py:31)", 0, 350),
            row("walk (shop/app.py:13)", 0, 200),
        ]
    );
}

/// A function that is never innermost stands at the line that took most time.
#[test]
fn line_of_a_caller() {
    let app = app(&[&[
        (&[("main", 31), ("f", 1)], 100),
        (&[("main", 32), ("f", 1)], 200),
    ]]);
    assert_eq!(rows(&app)[1].0, "main (shop/app.py:32)");
}

/// Shares are those of the last four slices, times those of all, and each column
/// sorts by itself.
#[test]
fn windows() {
    let old: &[Seen<'_>] = &[(&[("run", 10), ("old", 20)], 500)];
    let new: &[Seen<'_>] = &[(&[("run", 10), ("new", 30)], 250)];
    let mut app = app(&[old, old, new, new, new, old, new]);
    let all = [
        ("new (shop/app.py:30)".to_owned(), [750, 750, 1000, 1000]),
        ("old (shop/app.py:20)".to_owned(), [500, 500, 1500, 1500]),
        ("run (shop/app.py:10)".to_owned(), [0, 1250, 0, 2500]),
    ];
    let [new, old, run] = &all;
    for (key, order) in [
        ('1', [new, old, run]),
        ('2', [run, new, old]),
        ('3', [old, new, run]),
        ('4', [run, old, new]),
    ] {
        press(&mut app, KeyCode::Char(key));
        assert_eq!(rows(&app).iter().collect::<Vec<_>>(), order, "{key}");
    }
    let recent = app.data().recent();
    assert_eq!((recent.wall_ns, recent.gil_ns), (2000 * MS, 1250 * MS));
    assert_eq!(app.data().all().wall_ns, 3500 * MS);
    assert!((recent.share(recent.own_cpu_ns) - 0.01).abs() < 1e-9);
}

/// While it is paused the picture stands still and nothing is lost; a reset
/// forgets all there was.
#[test]
fn pause_and_reset() {
    let seen: &[Seen<'_>] = &[(&[("f", 10)], 100)];
    let mut app = app(&[seen]);
    press(&mut app, KeyCode::Char(' '));
    app.add(&slice(1, seen));
    assert_eq!(rows(&app)[0].1, [100; 4]);
    press(&mut app, KeyCode::Char(' '));
    assert_eq!(rows(&app)[0].1, [200; 4]);
    press(&mut app, KeyCode::Char('r'));
    assert_eq!(rows(&app), []);
    app.add(&slice(2, seen));
    assert_eq!(rows(&app)[0].1, [100; 4]);
    assert_eq!(app.data().elapsed(), Duration::from_millis(500));
    assert_eq!(app.data().all().samples, 1);
}

/// Keys ask for other threads, or to quit, with Ctrl-C as well, which is no
/// signal here.
#[test]
fn keys() {
    let mut app = app(&[]);
    press(&mut app, KeyCode::Char('i'));
    press(&mut app, KeyCode::Char('g'));
    assert_eq!((app.whom.idle, app.whom.gil), (true, true));
    press(&mut app, KeyCode::Char('g'));
    assert_eq!((app.whom.idle, app.whom.gil), (true, false));
    press(&mut app, KeyCode::Char('l'));
    assert_eq!(app.grouping, Grouping::Lines);
    assert_eq!(app.column, Column::OwnShare);
    assert_eq!(press(&mut app, KeyCode::Char('?')), Request::Nothing);
    assert!(app.shows_help);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Request::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.press(&control_c), Request::Quit);
    assert_eq!(press(&mut app, KeyCode::Char('c')), Request::Nothing);
}

fn screen(app: &mut App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width));
    let text = |line: &[ratatui::buffer::Cell]| -> String {
        line.iter().map(ratatui::buffer::Cell::symbol).collect()
    };
    lines.map(|line| text(line).trim_end().to_owned()).collect()
}

fn busy() -> App {
    let mut seen: Vec<Seen<'_>> = vec![
        (&[("main", 31), ("OrderBook.match", 12)], 300),
        (&[("main", 31), ("a\x1b]0;x\x07\nb", 20)], 50),
        (&[("main", 31), ("関数", 40)], 25),
    ];
    let many: Vec<(String, u32)> = (0..20)
        .map(|n| (format!("f{n:02}"), n * 10 + 100))
        .collect();
    let many: Vec<[(&str, u32); 1]> = many.iter().map(|(name, n)| [(&**name, *n)]).collect();
    seen.extend(many.iter().map(|frames| (&frames[..], 5)));
    let mut app = app(&[]);
    let mut slice = slice(0, &seen);
    slice.profile.lose(LossReason::NoFrames, 2);
    slice.profile.lose(LossReason::Torn, 1);
    app.add(&slice);
    app
}

/// The whole picture, with names that would steer the terminal written out.
#[test]
fn picture() {
    let mut app = busy();
    let lines = screen(&mut app, 80, 16);
    assert_eq!(
        lines,
        [
            "python3.11 (PID 42), Python 3.11.7  0.50 s at 100 Hz",
            "23 samples, 3 lost (most: no frames), 0 ticks missed, own CPU 1.0 %",
            "2 threads, 0.95 running, GIL held 95.0 %",
            "   %Own %Total  OwnTime TotalTime  Function (file:hottest line)",
            "  60.0%  60.0%   0.30 s    0.30 s  OrderBook.match (shop/app.py:12)",
            r"  10.0%  10.0%   0.05 s    0.05 s  a\x1b]0\x3bx\x07\nb (shop/app.py:20)",
            "   5.0%   5.0%   0.03 s    0.03 s  関 数  (shop/app.py:40)",
            "   1.0%   1.0%   0.01 s    0.01 s  f00 (shop/app.py:100)",
            "   1.0%   1.0%   0.01 s    0.01 s  f01 (shop/app.py:110)",
            "   1.0%   1.0%   0.01 s    0.01 s  f02 (shop/app.py:120)",
            "   1.0%   1.0%   0.01 s    0.01 s  f03 (shop/app.py:130)",
            "   1.0%   1.0%   0.01 s    0.01 s  f04 (shop/app.py:140)",
            "   1.0%   1.0%   0.01 s    0.01 s  f05 (shop/app.py:150)",
            "   1.0%   1.0%   0.01 s    0.01 s  f06 (shop/app.py:160)",
            "   1.0%   1.0%   0.01 s    0.01 s  f07 (shop/app.py:170)",
            "q quit  1-4 sort  t lines  i idle  g GIL  space pause  r reset  ? help",
        ]
    );
}

/// Scrolling stops where the rows end, and keys that move do so by what fits.
#[test]
fn scrolling() {
    let mut app = busy();
    let first = |app: &mut App| screen(app, 80, 16)[4][35..].to_owned();
    assert!(first(&mut app).starts_with("OrderBook"));
    press(&mut app, KeyCode::Down);
    assert!(first(&mut app).starts_with("a\\x1b"));
    press(&mut app, KeyCode::End);
    assert_eq!(
        screen(&mut app, 80, 16)[14].split_whitespace().last(),
        Some("(shop/app.py:31)")
    );
    press(&mut app, KeyCode::PageUp);
    let second = first(&mut app);
    press(&mut app, KeyCode::PageDown);
    assert_ne!(first(&mut app), second);
    press(&mut app, KeyCode::Home);
    press(&mut app, KeyCode::Up);
    assert!(first(&mut app).starts_with("OrderBook"));
}

/// However small the screen, something is drawn and nothing fails.
#[test]
fn small_screens() {
    let mut app = busy();
    for width in 1..90 {
        for height in 1..14 {
            screen(&mut app, width, height);
        }
    }
    let lines = screen(&mut app, 20, 5);
    assert_eq!(lines[0], "python3.11 (PID 42),"[..19].to_owned() + "…");
    assert_eq!(lines[1], "   %Own  Function (…");
    assert_eq!(lines[2], "  60.0%  OrderBook.…");
    press(&mut app, KeyCode::Char('3'));
    assert_eq!(screen(&mut app, 20, 5)[2], "   0.30 s  OrderBoo…");
    press(&mut app, KeyCode::Char('?'));
    for height in 1..30 {
        screen(&mut app, 40, height);
    }
    assert!(
        screen(&mut app, 80, 24)
            .iter()
            .any(|line| line.contains("recursion counts once"))
    );
}

/// Without samples it says what to do.
#[test]
fn nothing() {
    let mut app = app(&[]);
    assert_eq!(
        screen(&mut app, 80, 24)[4],
        "  waiting for the first samples"
    );
    app.add(&slice(0, &[]));
    assert_eq!(
        screen(&mut app, 80, 24)[4],
        "  no thread runs; i shows those that wait"
    );
    press(&mut app, KeyCode::Char('g'));
    assert!(screen(&mut app, 80, 24)[4].contains("no thread holds the GIL"));
}

/// The last table has shares of all the time, and is sorted by those.
#[test]
fn last_table() {
    let [before, since]: [&[Seen<'_>]; 2] = [&[(&[("f", 10)], 500)], &[(&[("g", 20)], 50)]];
    let app = app(&[before, &[], &[], &[], since, &[], &[], &[]]);
    let last = |text: String| -> Vec<String> {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines[4..].to_vec()
    };
    let text = table(&app, Span::All, ROOMY);
    assert!(text.starts_with("python3.11 (PID 42), Python 3.11.7: 4.00 s at 100 Hz\n"));
    assert_eq!(
        last(text),
        [
            "  12.5%  12.5%   0.50 s    0.50 s  f (shop/app.py:10)",
            "   1.2%   1.2%   0.05 s    0.05 s  g (shop/app.py:20)",
        ]
    );
    assert_eq!(
        last(table(&app, Span::Recent, ROOMY)),
        [
            "   2.5%   2.5%   0.05 s    0.05 s  g (shop/app.py:20)",
            "   0.0%   0.0%   0.50 s    0.50 s  f (shop/app.py:10)",
        ]
    );
}

/// Memory does not grow with time, only with what is new.
#[test]
fn memory_is_bounded() {
    let seen: &[Seen<'_>] = &[(&[("main", 31), ("f", 10)], 500)];
    let mut data = Data::since(Status::default());
    data.add(&slice(0, seen));
    let before = data.names().memory_estimate();
    for number in 1..1000 {
        data.add(&slice(number, seen));
    }
    assert_eq!(data.names().memory_estimate(), before);
    assert_eq!(data.rows(Grouping::Lines, Column::OwnShare).len(), 2);
    assert_eq!(data.kept_slices(), super::data::RECENT);
}
