//! One small program, and every word that firefinch says about it.

use crate::support::{Interpreter, Run, Target, firefinch, for_every};

/// The classes of methods are known from 3.11 on.
fn method(python: &Interpreter, name: &str) -> String {
    let class = if python.minor() >= (3, 11) {
        "Till."
    } else {
        ""
    };
    format!("{class}{name}")
}

/// Every number that is measured as N; a line number is not.
fn without_figures(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        let is_figure = word
            .trim_start_matches('(')
            .starts_with(|c: char| c.is_ascii_digit());
        words.push(if is_figure { "N" } else { word });
    }
    words.join(" ")
}

/// `dump` says this and no more.
#[test]
fn dump() {
    for_every("example-dump", |python| {
        let target = Target::start(python, "till.py").settled();
        let pid = target.pid();
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        let Run { stdout, stderr, .. } = firefinch(["dump", &pid.to_string()]).succeeded();
        let expected = format!(
            "Process {pid}: {}\n\
             Python {}\n\
             \n\
             Thread {pid} \"MainThread\": waiting in read\n    \
                 {} (till.py:17)\n    \
                 {} (till.py:14)\n    \
                 <module> (till.py:22)\n",
            exe.display(),
            python.version,
            method(python, "wait_for_card"),
            method(python, "checkout"),
        );
        assert_eq!(stdout, expected);
        assert_eq!(stderr, "");
    });
}

/// `record` writes this, and sums up like this.
#[test]
fn record() {
    for_every("example-record", |python| {
        let target = Target::start(python, "till.py").settled();
        let pid = target.pid();
        let args = "record -i -t -d 0.2 -r 50 -f raw -o - -p";
        let run = firefinch(args.split(' ').chain([&*pid.to_string()])).succeeded();
        let (stack, ticks) = run.stdout.rsplit_once(' ').unwrap();
        let innermost = format!("{} (till.py:17)", method(python, "wait_for_card"));
        let expected = format!(
            "thread {pid} \"MainThread\";<module> (till.py:22);{} (till.py:14);{innermost}",
            method(python, "checkout"),
        );
        assert_eq!(stack, expected);
        let (counts, rest) = run.stderr.split_once('\n').unwrap();
        // Ten deadlines, each a sample or missed; a tick weighs the time that
        // passed before it, and what passed after the last one is in none.
        let number_before = |word: &str| {
            let words: Vec<_> = counts.split(' ').collect();
            let at = words.iter().position(|w| *w == word).unwrap();
            words[at - 1].parse::<u32>().unwrap()
        };
        let (samples, missed) = (number_before("samples,"), number_before("ticks"));
        assert!((10..=11).contains(&(samples + missed)), "{run:#?}");
        let weight = ticks.trim().parse::<u32>().unwrap();
        assert!((samples - 1..=11).contains(&weight), "{run:#?}");
        assert_eq!(
            without_figures(counts),
            "N s at N Hz: N samples, N ticks missed, N lost; own CPU N s N %)"
        );
        let expected = format!(
            "  self   total  hottest functions, at their hottest line\n\
             100.0%  100.0%  {innermost}\n"
        );
        assert_eq!(rest, expected);
    });
}
