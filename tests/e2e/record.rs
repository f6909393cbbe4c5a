//! `firefinch record` by PID: shares, options, formats.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::stacks::is_new;
use crate::support::{
    Collapsed, Interpreter, Run, Running, Target, TrueFrame, alone, command, firefinch, for_every,
    for_every_that, is_one_of_few, programs, true_stack,
};

/// Records collapsed stacks to standard output.
pub(crate) fn record(target: &Target, options: &[&str]) -> (Collapsed, Run) {
    let pid = target.pid_arg();
    let fixed = ["record", "--pid", &pid, "-f", "raw", "-o", "-"];
    let run = firefinch(fixed.iter().chain(options)).succeeded();
    (Collapsed::parse(&run.stdout), run)
}

/// Fails if more than this share of all samples is lost: who refuses what is hard to read
/// shows nothing wrong.
pub(crate) fn assert_few_lost(shown: u64, run: &Run, tolerated: f64) {
    let lost = summed_up(run, "lost") as f64;
    let all = shown as f64 + lost;
    assert!(
        shown > 0 && lost <= all * tolerated,
        "{lost} of {all} are lost: {run:#?}"
    );
}

/// What was recorded when at most a tenth of the ticks that were `due` was missed: a
/// machine that is too busy to sample says little of shares, for the sample after a pause
/// counts for all of it.
pub(crate) fn in_quiet(due: u64, mut recorded: impl FnMut() -> Run) -> Run {
    let is_quiet = |run: &Run| summed_up(run, "ticks missed") * 10 <= due;
    let quiet = (0..10).map(|_| recorded()).find(is_quiet);
    quiet.expect("one recording of ten with few ticks missed")
}

/// The number before `words` in the summary.
pub(crate) fn summed_up(run: &Run, words: &str) -> u64 {
    let before = run.stderr.split(words).next().unwrap_or_default();
    let number = before
        .trim_end()
        .rsplit([' ', '('])
        .next()
        .unwrap_or_default();
    let number = number.replace(',', "").parse();
    number.unwrap_or_else(|_| panic!("a number of {words}: {}", run.stderr))
}

/// `name (file:line)`, as a report calls a frame.
pub(crate) fn label(frame: &TrueFrame) -> String {
    let file = frame.file.rsplit('/').next().unwrap();
    format!("{} ({file}:{})", frame.name, frame.line)
}

/// A stack of the truth as collapsed frames, oldest first.
pub(crate) fn labels(stack: &Value, label: impl Fn(&TrueFrame) -> String) -> Vec<String> {
    true_stack(stack).iter().rev().map(label).collect()
}

/// The function that a label names.
pub(crate) fn function(label: &str) -> &str {
    label.split(" (").next().unwrap()
}

/// The shares of four functions come out as the program divided its time
/// among them, the lines are those they can stand at, the counts add up to
/// the time recorded, and the summary names the hottest.
#[test]
fn shares() {
    const SECONDS: u64 = 2;
    const RATE: u64 = 200;
    for_every("record-shares", |python| {
        let target = Target::start(python, "shares.py").settled();
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("shares.txt");
        let path = file.to_str().unwrap();
        let (seconds, rate) = (SECONDS.to_string(), RATE.to_string());
        let pid = target.pid_arg();
        let options = ["--duration", &seconds, "--rate", &rate, "-o", path];
        let due = SECONDS * RATE;
        let run = in_quiet(due, || {
            firefinch(["record", "-p", &pid].iter().chain(&options)).succeeded()
        });
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains(&format!("wrote {path}")), "{run:#?}");
        let collapsed = Collapsed::parse(&fs::read_to_string(&file).unwrap());
        let total = collapsed.total();
        let lost = summed_up(&run, "lost");
        assert!(total + lost >= due * 9 / 10, "{total} of {due}: {run:#?}");
        assert!(total <= due * 21 / 20, "{total} of {due}: {run:#?}");
        for (name, share) in target.truth["shares"].as_object().unwrap() {
            let share = share.as_f64().unwrap();
            let seen = collapsed.count_of(name) as f64 / total as f64;
            let sigma = (share * (1.0 - share) / total as f64).sqrt();
            let bound = 5.0 * sigma + 0.02;
            assert!((seen - share).abs() < bound, "{name}: {seen}: {run:#?}");
        }
        assert_callers(&target, &collapsed);
        let hottest = run.stderr.lines().find(|line| line.contains("shares.py"));
        assert!(hottest.unwrap().contains("takes_50"), "{}", run.stderr);
    });
}

/// A program that scans text in loops and parses it by very short calls has the
/// shares that it measures of itself: what stands still is not preferred to what
/// moves. To 3.10 the parser has 0 to 3 points less, and had 40 less where only the frames
/// of the last look were copied at once.
#[test]
fn phases() {
    for_every("record-phases", |python| {
        assert_shares(|| Target::start(python, "phases.py"), 0.09);
    });
}

/// The same in threads that end soon, each where the one before was: none waits for what
/// only that one was seen to do.
#[test]
fn phases_in_threads() {
    for_every("record-phases-in-threads", |python| {
        assert_shares(|| Target::start(python, "phases_in_threads.py"), 0.09);
    });
}

/// A thread that is stopped is found in system calls as often as it is there, and not when
/// it lets us in because it calls the kernel: of a function that does little else, that was
/// 98 % of the stops for 16 % of the time.
#[test]
fn stops_beside_system_calls() {
    for_every("record-kernel-phases", |python| {
        for way in ["--blocking", "--native"] {
            let start = || Target::start(python, "kernel_phases.py");
            let asked = ["-F", "-r", "1000", "-d", "1", way];
            // On a crowded machine the program's own clock counts what others took.
            let mut shares = shares_of(start, &asked, 0.09);
            for _ in 1..3 {
                shares = shares.or_else(|_| shares_of(start, &asked, 0.09));
            }
            shares.unwrap_or_else(|objection| panic!("{objection}"));
        }
    });
}

/// Up to 100 Hz whoever looks at a thread sleeps where it runs, and only then, unless told not
/// to.
#[test]
fn from_its_own_cpu() {
    const CPUS: &str = "Cpus_allowed_list:";
    for_every_that("record-own-cpu", is_one_of_few, |python| {
        let target = Target::start(python, "shares.py").settled();
        let _alone = alone();
        let pid = target.pid_arg();
        for (asked, is_near) in [
            (&["-r", "100"][..], true),
            (&["-r", "101"], false),
            (&["-r", "100", "--nonblocking"], false),
        ] {
            let fixed = ["record", "-d", "1", "-f", "raw", "-o", "-", &pid];
            let running = Running::start(&mut command(fixed.iter().chain(asked)));
            running.sampled();
            let status = format!("/proc/{}/status", running.pid());
            let cpus = (0..50).filter_map(|_| {
                std::thread::sleep(Duration::from_millis(10));
                let status = fs::read_to_string(&status).ok()?;
                let cpus = status.lines().find_map(|line| line.strip_prefix(CPUS))?;
                Some(cpus.trim().parse::<u32>().is_ok())
            });
            let cpus: Vec<bool> = cpus.collect();
            let bound = cpus.iter().filter(|is_one| **is_one).count();
            let run = running.end().succeeded();
            match is_near {
                true => assert!(bound * 2 > cpus.len(), "{bound}: {run:#?}"),
                false => assert_eq!(bound, 0, "{asked:?}: {run:#?}"),
            }
        }
    });
}

/// At rates at which threads are looked at from their own CPU, what coroutines and
/// asynchronous generators do is not shown as their caller's, which is all that lies in the
/// data stack.
#[test]
fn coroutines() {
    for_every_that("record-coroutines", has_async_generators, |python| {
        // From another CPU it is 54 to 68 % on 3.11 and 3.12, where 2 to 6 % remain, and 5 to
        // 23 % from 3.13 on.
        let bound = if is_3_11_or_3_12(python) { 0.12 } else { 0.05 };
        assert_in_callers_less(python, "coroutine_calls.py", bound);
    });
}

/// The same of threads that take turns, on whatever CPU is free: who runs at a tick is seldom
/// where the last one found somebody.
#[test]
fn coroutines_in_turns() {
    for_every_that(
        "record-coroutines-in-turns",
        has_async_generators,
        |python| {
            // Where the last one was it is 25 to 38 % on 3.11 and 3.12, where 5 to 10 % remain;
            // later versions have 10 to 12 %, of which 1 to 3 remain.
            let bound = if is_3_11_or_3_12(python) { 0.18 } else { 0.08 };
            assert_in_callers_less(python, "coroutines_in_turns.py", bound);
        },
    );
}

fn has_async_generators(python: &Interpreter) -> bool {
    python.minor() >= (3, 6)
}

fn is_3_11_or_3_12(python: &Interpreter) -> bool {
    matches!(python.minor(), (3, 11 | 12))
}

/// Records coroutines, and fails if those who call them have more of the time.
fn assert_in_callers_less(python: &Interpreter, program: &str, bound: f64) {
    let target = Target::start(python, program).settled();
    let _alone = alone();
    let callers = ["until_done", "await_all", "iterate_all"];
    let in_caller = |frames: &[String]| callers.contains(&function(frames.last().unwrap()));
    let recorded = |_| {
        let (collapsed, run) = record(&target, &["-F", "-r", "100", "-d", "3"]);
        let (shown, lost) = (collapsed.total(), summed_up(&run, "lost"));
        assert!(lost * 10 <= shown, "{lost} lost beside {shown}: {run:#?}");
        let in_callers = collapsed.count(in_caller) as f64 / shown as f64;
        (in_callers, run)
    };
    // On a crowded machine looks may come too late to be taken there.
    let (in_callers, run) = (0..4)
        .map(recorded)
        .find(|(in_callers, _)| *in_callers < bound)
        .unwrap_or_else(|| recorded(4));
    assert!(in_callers < bound, "{in_callers}: {run:#?}");
}

/// The same of one that goes down 120 or 300 calls and up again beside a loop:
/// how deep a stack is changes no share.
#[test]
fn deep_phases() {
    // In repeated runs it was up to 10 points off, and once 13, on 3.14 ("Limits" in README
    // has it); 15 to 18 where more was copied only after the recursion had been met.
    for_every_that("record-deep-phases", is_new, |python| {
        let start = || Target::start_with(python, "deep_phases.py", &["120"]);
        let asked = ["-F", "-r", "1000", "-d", "1"];
        let mut collapsed = shares_of(start, &asked, 0.06);
        for _ in 1..3 {
            collapsed = collapsed.or_else(|_| shares_of(start, &asked, 0.06));
        }
        let collapsed = collapsed.unwrap_or_else(|objection| panic!("{objection}"));
        for (frames, _) in &collapsed.stacks {
            let dives = frames.iter().filter(|frame| function(frame) == "dive");
            assert!(dives.count() <= 120, "{frames:?}");
            assert_eq!(function(&frames[0]), "<module>", "{frames:?}");
        }
    });
}

/// The same of one that goes through C into Python all the time, in the ways of
/// ordinary programs.
#[test]
fn everyday_phases() {
    for_every_that("record-everyday-phases", is_new, |python| {
        let start = || Target::start(python, "everyday_phases.py");
        // In repeated runs it was up to 5 points off on 3.11, and 3 on the others.
        assert_shares(start, 0.06);
    });
}

/// The same of one that has been attached to a moment ago, most calls of which are new: what
/// it does most is learnt first, and is not shown for the rest.
#[test]
fn first_seconds() {
    for_every("record-first-seconds", |python| {
        for mode in ["wall", "cpu"] {
            let start = || Target::start(python, "many_calls.py");
            let asked = ["-F", "-r", "300", "-d", "2", "--mode", mode];
            assert_shares_of(start, &asked, 0.03);
        }
    });
}

/// Fails if the phases of a target have other shares than it measures meanwhile,
/// by more than chance and this gives, or if more than every thirtieth sample is
/// lost.
fn assert_shares(start: impl FnOnce() -> Target, beyond_chance: f64) -> Collapsed {
    assert_shares_of(start, &["-F", "-r", "1000", "-d", "1"], beyond_chance)
}

fn assert_shares_of(
    start: impl FnOnce() -> Target,
    asked: &[&str],
    beyond_chance: f64,
) -> Collapsed {
    shares_of(start, asked, beyond_chance).unwrap_or_else(|objection| panic!("{objection}"))
}

/// What was recorded, or what is wrong with its shares.
fn shares_of(
    start: impl FnOnce() -> Target,
    asked: &[&str],
    beyond_chance: f64,
) -> Result<Collapsed, String> {
    let _alone = alone();
    let mut target = start().settled();
    let (collapsed, run) = record(&target, asked);
    let (shown, lost) = (collapsed.total(), summed_up(&run, "lost"));
    // On a crowded machine threads wait long before their first frame and after their last.
    let has_frameless = run.stderr.contains(" no frames");
    let frameless = if has_frameless {
        summed_up(&run, "no frames")
    } else {
        0
    };
    assert!(frameless * 10 <= shown, "{frameless} frameless: {run:#?}");
    let lost = lost - frameless;
    assert!(lost * 30 <= shown, "{lost} lost beside {shown}: {run:#?}");
    target.tell("\n");
    let spent: Value = serde_json::from_str(&target.line_after("spent ")).unwrap();
    let spent = spent.as_object().unwrap();
    // Between two phases it looks at its clock.
    let is_phase = |frame: &String| spent.contains_key(function(frame));
    let total = collapsed.count(|frames| frames.iter().any(is_phase)) as f64;
    for (name, share) in spent {
        let share = share.as_f64().unwrap();
        let in_it = |frame: &String| function(frame) == name;
        let seen = collapsed.count(|frames| frames.iter().any(in_it)) as f64 / total;
        let sigma = (share * (1.0 - share) / total).sqrt();
        let bound = 4.0 * sigma + beyond_chance;
        if (seen - share).abs() >= bound {
            return Err(format!("{name}: {seen} for {share}: {run:#?}"));
        }
    }
    Ok(collapsed)
}

/// Below each function stands the one that calls it, at the line of the call.
pub(crate) fn assert_callers(target: &Target, collapsed: &Collapsed) {
    let caller = target.truth["caller"].as_str().unwrap();
    let caller = format!("{caller} (shares.py:{})", target.truth["calls"]);
    for (frames, _) in &collapsed.stacks {
        let is_share = |frame: &String| frame.starts_with("takes_");
        if let Some(at) = frames.iter().position(is_share) {
            assert_eq!(frames[at - 1], caller);
            assert_eq!(frames.len(), at + 1);
        }
        assert!(frames[0].starts_with("<module> (shares.py:"), "{frames:?}");
        assert!(frames[1].starts_with("main (shares.py:"), "{frames:?}");
    }
}

/// With -i every waiting thread is there, at its one true stack; with -t each
/// thread is a root of its own, with its number and name.
#[test]
fn threads_and_idle() {
    for_every("record-threads-idle", |python| {
        let target = Target::start(python, "threads.py").settled();
        let (collapsed, run) = record(&target, &["-t", "-i", "-d", "0.5", "-r", "50"]);
        for (name, known) in target.truth["threads"].as_object().unwrap() {
            let root = format!("thread {} \"{name}\"", known["native_id"]);
            let mut expected = vec![root.clone()];
            expected.extend(labels(&known["stack"], label));
            let own = collapsed.stacks.iter().filter(|(s, _)| s[0] == root);
            let own: Vec<_> = own.collect();
            assert!(!own.is_empty(), "{root}: {collapsed:#?}");
            let busy = known["busy"].as_str();
            for (stack, _) in &own {
                let (rest, top) = match busy {
                    Some(_) => stack.split_at(stack.len() - 1),
                    None => (&stack[..], &[][..]),
                };
                assert_eq!(rest, expected);
                assert_eq!(top.first().map(|top| function(top)), busy);
            }
        }
        let threads = target.truth["threads"].as_object().unwrap().len() as u64;
        let due = threads * 25;
        // What passes after the last tick weighs nothing, and is missed.
        let missed = threads * summed_up(&run, "ticks missed");
        let total = collapsed.total();
        assert!(total <= due * 11 / 10, "{total} of {due}");
        assert!(total + missed >= due * 8 / 10, "{total} of {due}, {missed}");
    });
}

/// Without -i a waiting thread is in no sample, and a PID needs no flag.
#[test]
fn busy_only() {
    for_every("record-busy-only", |python| {
        let target = Target::start(python, "threads.py").settled();
        let pid = target.pid_arg();
        let run = firefinch([
            "record",
            &pid,
            "--nonblocking",
            "-t",
            "-d",
            "0.5",
            "-r",
            "200",
            "-f",
            "raw",
            "-o",
            "-",
        ]);
        let collapsed = Collapsed::parse(&run.succeeded().stdout);
        assert!(collapsed.total() > 0);
        for (frames, _) in &collapsed.stacks {
            assert!(frames[0].ends_with(" \"busy-worker\""), "{collapsed:#?}");
        }
    });
}

/// -F shows the line at which a function begins, --nolineno none, and
/// --full-filenames the paths as the interpreter has them.
#[test]
fn labels_as_asked() {
    for_every("record-labels", |python| {
        let target = Target::start(python, "threads.py").settled();
        let known = &target.truth["threads"]["busy-worker"];
        let short = ["-d", "0.2", "-r", "100"];
        let expect = |option: &str, wanted: Vec<String>| {
            let mut options = short.to_vec();
            options.push(option);
            let (collapsed, _) = record(&target, &options);
            assert!(!collapsed.stacks.is_empty());
            for (frames, _) in &collapsed.stacks {
                let below = &frames[..frames.len() - 1];
                assert_eq!(below, wanted, "{option}");
            }
            collapsed
        };

        let unnumbered = |frame: &TrueFrame| {
            let file = frame.file.rsplit('/').next().unwrap();
            format!("{} ({file})", frame.name)
        };
        let one = expect("--nolineno", labels(&known["stack"], unnumbered));
        assert_eq!(one.stacks.len(), 1, "{one:#?}");
        assert_eq!(one.stacks[0].0.last().unwrap(), "busy_loop (threads.py)");

        let whole = |frame: &TrueFrame| format!("{} ({}:{})", frame.name, frame.file, frame.line);
        expect("--full-filenames", labels(&known["stack"], whole));

        let source = fs::read_to_string(programs().join("threads.py")).unwrap();
        let defined = |name: &str| {
            let start = format!("def {name}(");
            source
                .lines()
                .position(|line| line.starts_with(&start))
                .unwrap()
                + 1
        };
        let options = ["-F", "-d", "0.2", "-r", "100"];
        let (functions, _) = record(&target, &options);
        assert_eq!(functions.stacks.len(), 1, "{functions:#?}");
        let ours: Vec<_> = ["run_known", "be_busy", "busy_loop"]
            .map(|name| format!("{name} (threads.py:{})", defined(name)))
            .to_vec();
        let frames = &functions.stacks[0].0;
        assert!(frames.ends_with(&ours), "{frames:?}");
    });
}

/// Where there is no GIL, -g says that nothing was sampled, and why.
#[test]
fn no_gil_to_hold() {
    let without = |python: &Interpreter| python.free_threaded;
    for_every_that("record-no-gil", without, |python| {
        let target = Target::start(python, "threads.py").settled();
        let pid = target.pid_arg();
        let run = firefinch(["record", "-g", "-d", "0.2", "-f", "raw", "-o", "-", &pid]);
        assert_eq!(run.code, Some(3), "{run:#?}");
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains("nothing was sampled"), "{run:#?}");
    });
}

/// A flame graph is the default format, by name, by extension and without
/// either, and has the functions in it.
#[test]
fn flame_graph() {
    for_every("record-flamegraph", |python| {
        let target = Target::start(python, "threads.py").settled();
        let pid = target.pid_arg();
        let place = tempfile::tempdir().unwrap();
        let named = place.path().join("flame.svg");
        let path = named.to_str().unwrap();
        let variants = [
            vec!["-o", path],
            vec!["-o", "-"],
            vec!["-o", "-", "--format", "flamegraph"],
            vec!["-o", "-", "-f", "svg"],
        ];
        for options in variants {
            let fixed = ["record", &pid, "-d", "0.1"];
            let run = firefinch(fixed.iter().chain(&options)).succeeded();
            let svg = match options[1] {
                "-" => run.stdout,
                path => fs::read_to_string(path).unwrap(),
            };
            assert!(svg.starts_with("<?xml"), "{options:?}: {svg:.200}");
            assert!(svg.trim_end().ends_with("</svg>"), "{options:?}");
            assert!(svg.contains("busy_loop (threads.py:"), "{options:?}");
            assert!(!svg.contains("sleep_long"), "{options:?}");
        }
    });
}

/// Without -o the file is called after the process and the time, in the
/// working directory, and the last line says so.
#[test]
fn default_name() {
    let python = &Interpreter::all()[0];
    let target = Target::start(python, "threads.py").settled();
    let place = tempfile::tempdir().unwrap();
    let mut command = command(["record", &target.pid_arg(), "-d", "0.1"]);
    command.current_dir(place.path());
    let run = Running::start(&mut command).end().succeeded();
    let files: Vec<_> = fs::read_dir(place.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let name = files[0].file_name().into_string().unwrap();
    assert!(
        name.starts_with(&format!("firefinch-{}-", target.pid())),
        "{name}"
    );
    assert!(name.ends_with(".svg"), "{name}");
    assert!(run.stderr.contains(&format!("wrote {name}")), "{run:#?}");
}
