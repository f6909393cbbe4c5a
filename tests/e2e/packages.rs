//! Native stacks of packages that people use, among Python frames.

use std::collections::BTreeSet;
use std::fs;

use crate::record::{function, label, labels};
use crate::support::{
    Collapsed, Interpreter, Place, Run, Target, eventually, firefinch, for_every_that,
    has_packages, packages, prepare, python_args, to_command,
};

/// What `packages.py` does with a package.
struct Work {
    name: &'static str,
    /// Parts of names of native functions, in lower case, and the only Python
    /// functions that call them.
    marks: &'static [(&'static str, &'static [&'static str])],
    /// Such a part of a name, how many times it stands between two Python functions,
    /// and the newer of these.
    between: Option<(&'static str, usize, &'static str)>,
    /// The object whose threads have no Python frames.
    threads: Option<&'static str>,
}

/// NumPy: its kernels keep their stack aligned, so that unwinding them takes
/// expressions; its library for matrices has threads of its own, and frames of half
/// a megabyte.
const NUMERIC: Work = Work {
    name: "numeric",
    marks: &[
        ("argsort", &["sorting"]),
        ("double_sin_", &["sines"]),
        ("double_exp_", &["exponentials"]),
        ("double_log1p_", &["logarithms"]),
        ("double_matmul", &["products"]),
        ("inv<double>", &["inverting"]),
        ("getrf", &["inverting"]),
    ],
    between: None,
    threads: Some("openblas"),
};

/// lxml: it goes through itself as deep as a document is, and has no names but of
/// the functions that other objects may call.
const TREES: Work = Work {
    name: "trees",
    marks: &[
        ("xmlparseelement", &["parsing"]),
        ("xmlnodedumpoutput", &["writing"]),
        (
            "xmlxpathcompiledeval ",
            &["searching", "transforming", "calling"],
        ),
        ("xsltapplytemplates", &["transforming", "calling"]),
    ],
    between: Some(("xsltapplytemplates", 40, "called")),
    threads: None,
};

/// At least so many stacks in a hundred go down to the thread's first function.
const ROOTED: f64 = 99.8;

/// Stacks of NumPy and lxml are whole, each of their functions stands above the
/// Python function that calls it and above no other, and the Python frames are
/// those that there are without native ones: no more, no fewer.
#[test]
fn below_their_callers() {
    for_every_that("packages", has_packages, |python| {
        for work in [NUMERIC, TREES] {
            let target = start(python, &work);
            let (python_only, ..) = record(&target, &[]);
            let (python_frames, merged, run) = record(&target, &["-n"]);
            assert_eq!(python_frames, python_only, "{run:#?}");
            // On a machine with too much to do a thread may not get to where it stops:
            // what it has of Python is there all the same.
            let lost = run.stderr.split(" lost (").nth(1).unwrap_or_default();
            let is_native = work.threads.is_some() && lost.contains("not stopped);");
            assert!(lost.is_empty() || is_native, "{run:#?}");
            assert!(percentage(&run, "rooted") >= ROOTED, "{run:#?}");
            // Samples whose thread did not get to where it stops in time have their Python
            // frames alone, and the summary says so.
            let alone = number_before(&run, " without native frames: not stopped");
            let share = 100.0 * alone / number_before(&run, " samples");
            assert!(share < 2.0, "{run:#?}");
            let whole = percentage(&run, "merged whole");
            assert!(whole + share >= ROOTED, "{run:#?}");
            for (mark, callers) in work.marks {
                let found = callers_of(mark, &merged);
                let expected = callers.iter().map(|caller| (*caller).to_owned());
                assert_eq!(found, expected.collect(), "{mark}: {run:#?}");
            }
            for (frames, _) in &merged.stacks {
                if alone == 0.0 || !frames.iter().all(|frame| is_python(frame)) {
                    check_between(&work, frames);
                }
                if !frames.iter().any(|frame| is_python(frame)) {
                    let of = work.threads.expect("Python frames in each stack");
                    assert!(frames.iter().any(|frame| frame.contains(of)), "{frames:?}");
                }
            }
        }
    });
}

/// The number that the summary has before these words; 0 if it has not got them.
fn number_before(run: &Run, words: &str) -> f64 {
    let Some((before, _)) = run.stderr.split_once(words) else {
        return 0.0;
    };
    let number = before.rsplit(['(', ' ']).next().unwrap().replace(',', "");
    number.parse().unwrap()
}

fn start(python: &Interpreter, work: &Work) -> Target {
    let place = Place::below(python);
    let mut command = to_command(&python_args(python, "packages.py", &place));
    command.arg(packages(python, &place)).arg(work.name);
    prepare(&mut command, &place);
    // As many on every machine.
    command.env("OPENBLAS_NUM_THREADS", "2");
    let target = Target::run(command, place);
    eventually("it works, having said that it is ready", || {
        let dump = firefinch(["dump", &target.pid_arg()]).succeeded();
        (!dump.stdout.contains("announce")).then_some(())
    });
    target
}

/// The distinct stacks of Python frames in a recording, of which each has to be true and
/// each that there can be has to be there. Where others want the processors as well, the
/// work may not get through all that it does within two seconds: its library's threads wait
/// for each other. So a recording in which some are missing is followed by a longer one.
fn record(target: &Target, options: &[&str]) -> (BTreeSet<Vec<String>>, Collapsed, Run) {
    let file = target.place().outside().join("out.txt");
    let (file, pid) = (file.to_str().unwrap(), target.pid_arg());
    let known = target.truth["stacks"].as_object().unwrap();
    let known: Vec<_> = known.values().map(|stack| labels(stack, label)).collect();
    let mut missing = BTreeSet::new();
    for seconds in ["2", "6", "18"] {
        let fixed = ["record", "-r", "500", "-d", seconds, "-o", file, &pid];
        let run = firefinch(fixed.iter().chain(options)).succeeded();
        let collapsed = Collapsed::parse(&fs::read_to_string(file).unwrap());
        let stacks = collapsed.stacks.iter().map(|(frames, _)| {
            let python = frames.iter().filter(|frame| is_python(frame));
            python.cloned().collect::<Vec<_>>()
        });
        let mut found: BTreeSet<_> = stacks.filter(|stack| !stack.is_empty()).collect();
        for stack in &found {
            assert!(known.contains(stack), "{stack:?} {run:#?}");
        }
        // Between two calls it is seldom.
        let is_work = |stack: &&Vec<String>| function(stack.last().unwrap()) != "main";
        found.retain(|stack| is_work(&stack));
        missing = known.iter().filter(is_work).cloned().collect();
        missing.retain(|stack| !found.contains(stack));
        if missing.is_empty() {
            return (found, collapsed, run);
        }
    }
    panic!("never seen: {missing:#?}");
}

/// What lies between two Python functions does so as often as it should.
fn check_between(work: &Work, frames: &[String]) {
    let Some((mark, count, newer)) = work.between else {
        return;
    };
    let is_newer = |frame: &String| is_python(frame) && called(frame) == newer;
    if let Some(at) = frames.iter().position(is_newer) {
        let below = frames[..at].iter().rev();
        let between = below.take_while(|frame| !is_python(frame));
        let found = between.filter(|frame| frame.to_lowercase().contains(mark));
        assert_eq!(found.count(), count, "{frames:#?}");
    }
}

/// The function of a label, without its class.
fn called(label: &str) -> &str {
    function(label).rsplit('.').next().unwrap()
}

/// The Python functions that have a native one above them with this in its name.
fn callers_of(mark: &str, collapsed: &Collapsed) -> BTreeSet<String> {
    let mut callers = BTreeSet::new();
    for (frames, _) in &collapsed.stacks {
        let mut caller = "none";
        for frame in frames {
            if is_python(frame) {
                caller = called(frame);
            } else if frame.to_lowercase().contains(mark) {
                callers.insert(caller.to_owned());
            }
        }
    }
    callers
}

/// What the summary says in per cent of something.
fn percentage(run: &Run, words: &str) -> f64 {
    let before = run.stderr.split(&format!(" % {words}")).next().unwrap();
    let number = before.rsplit(' ').next().unwrap();
    number
        .parse()
        .unwrap_or_else(|_| panic!("per cent {words}: {run:#?}"))
}

/// Whether a label is that of a Python frame, in these tests.
fn is_python(label: &str) -> bool {
    label.contains(".py:")
}
