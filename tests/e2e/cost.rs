//! Many threads that sleep beside one that does not.

use crate::record::{assert_few_lost, function, record};
use crate::support::{Running, Target, command, for_every, for_every_that, is_one_of_few};

const SLEEPERS: usize = 200;

/// Of 200 sleeping threads and a busy one, the busy one has every sample,
/// one at each tick.
#[test]
fn only_the_busy_one() {
    for_every("record-sleepers-busy", |python| {
        let target = Target::start_with(python, "idle.py", &["--busy"]).settled();
        let (collapsed, run) = record(&target, &["-t", "-d", "1", "-r", "200"]);
        let busy = target.truth["busy"].as_str().unwrap();
        assert!(collapsed.total() > 0, "{run:#?}");
        for (frames, _) in &collapsed.stacks {
            assert!(frames[0].ends_with("\"busy-worker\""), "{collapsed:#?}");
            assert_eq!(function(frames.last().unwrap()), busy);
        }
        assert!(
            (180..=220).contains(&collapsed.total()),
            "{collapsed:#?}\n{run:#?}"
        );
        assert_few_lost(collapsed.total(), &run, 0.05);
    });
}

/// With more threads than files may be open, each is there all the same: all
/// 200 of them where 64 files are allowed.
#[test]
fn few_files() {
    for_every_that("record-few-files", is_one_of_few, |python| {
        let target = Target::start_with(python, "idle.py", &["--busy"]).settled();
        let pid = target.pid_arg();
        let asked = [
            "record", "-i", "-t", "-d", "0.5", "-f", "raw", "-o", "-", &pid,
        ];
        let asked = command(asked);
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
        limited.arg(asked.get_program()).args(asked.get_args());
        let run = Running::start(&mut limited).end().succeeded();
        let collapsed = crate::support::Collapsed::parse(&run.stdout);
        let mut roots: Vec<_> = collapsed
            .stacks
            .iter()
            .map(|(frames, _)| &frames[0])
            .collect();
        roots.sort_unstable();
        roots.dedup();
        // The sleepers, the busy one, and the main thread.
        assert_eq!(roots.len(), SLEEPERS + 2, "{}", run.stderr);
        assert!(run.stderr.contains(" 0 lost"), "{}", run.stderr);
    });
}
