//! Process trees: `record`, `top` and `dump` with `--subprocesses`.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{
    Collapsed, Interpreter, Place, Recording, Run, Running, Target, command, eventually, firefinch,
    for_every_that, is_one_of_few, prepare, program_path, python_args,
};

/// One that stands for each way of finding an interpreter and its threads.
fn is_one_of_some(python: &Interpreter) -> bool {
    ["2.7", "3.6", "3.8", "3.11", "3.13", "3.14", "3.15", "3.13t"].contains(&&*python.name)
}

/// A recording with descendants.
fn recording_of(target: &Target, options: &[&str]) -> Recording {
    recording_by(command(["record"]), target, options)
}

/// By a command to which arguments can be added.
fn recording_by(mut command: Command, target: &Target, options: &[&str]) -> Recording {
    command.args(["-s", "-r", "200", "-p", &target.pid_arg()]);
    Recording::by(command.args(options))
}

impl Recording {
    /// Lets it sample on for a while, and sometime somebody new.
    fn go_on(&self) {
        for _ in 0..5 {
            self.running.sampled();
        }
    }

    /// Waits until it samples this process.
    fn knows(&self, pid: &str) {
        let files = format!("/proc/{}/fd", self.running.pid());
        let kept = format!("/proc/{pid}/task/{pid}/schedstat");
        eventually("the process is sampled", || {
            let mut files = fs::read_dir(&files).unwrap().flatten();
            let is_kept = |file: fs::DirEntry| {
                fs::read_link(file.path()).is_ok_and(|path| path.as_os_str() == &*kept)
            };
            files.any(is_kept).then_some(())
        });
        self.go_on();
    }

    fn stop(self) -> (Collapsed, Run) {
        self.go_on();
        self.running.signal(Signal::SIGINT);
        self.end()
    }

    /// Its open files and threads.
    fn holds(&self) -> (usize, usize) {
        let count = |of: &str| {
            let path = format!("/proc/{}/{of}", self.running.pid());
            fs::read_dir(path).unwrap().count()
        };
        (count("fd"), count("task"))
    }
}

/// The family, and what it is told: `family.py` has the orders.
struct Family(Target);

impl Family {
    fn of(python: &Interpreter) -> Self {
        Self(Target::start_with(python, "family.py", &["--threads", "3"]))
    }

    fn pid(&self) -> String {
        self.0.pid_arg()
    }

    /// The rest of what it answers, which begins with this word.
    fn order(&mut self, order: &str, answer: &str) -> String {
        self.0.tell(&format!("{order}\n"));
        self.0.line_after(answer)
    }

    /// A new child or grandchild.
    fn fork(&mut self, order: &str) -> String {
        self.order(order, "forked ")
    }

    /// A child that runs another program, once that says that it is ready, with its
    /// truth; both may speak at once.
    fn spawn(&mut self, words: &[OsString]) -> (String, Value) {
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let mut pid = self.order(&format!("spawn {}", words.join(" ")), "");
        let mut rest = (0..2).map(|_| self.0.line_after("")).collect::<Vec<_>>();
        if !pid.starts_with("spawned ") {
            let at = rest.iter().position(|line| line.starts_with("spawned "));
            std::mem::swap(&mut pid, &mut rest[at.unwrap()]);
        }
        let truth = rest.iter().find_map(|line| line.strip_prefix("truth "));
        let truth = serde_json::from_str(truth.unwrap()).unwrap();
        (pid.strip_prefix("spawned ").unwrap().to_owned(), truth)
    }
}

/// The ticks of a process in which it was in this function, and in all.
fn ticks(collapsed: &Collapsed, pid: &str, function: &str) -> (u64, u64) {
    let root = format!("process {pid}: ");
    let is_of = |frames: &[String]| frames[0].starts_with(&root);
    let start = format!("{function} (");
    let in_it = |frames: &[String]| frames.iter().any(|frame| frame.starts_with(&start));
    (
        collapsed.count(|frames| is_of(frames) && in_it(frames)),
        collapsed.count(is_of),
    )
}

/// A process was in this function, and not in what others work in.
#[track_caller]
fn assert_works(collapsed: &Collapsed, pid: &str, function: &str, run: &Run) {
    for each in ["work_a", "work_b", "work_c"] {
        let (there, _) = ticks(collapsed, pid, each);
        let is_right = if each == function {
            there >= 20
        } else {
            there == 0
        };
        assert!(is_right, "{pid} {each}: {there}: {collapsed:#?} {run:#?}");
    }
}

/// Every stack stands on its process: one of these.
#[track_caller]
fn assert_roots(collapsed: &Collapsed, pids: &[&str]) {
    for (frames, _) in &collapsed.stacks {
        let root = frames[0].strip_prefix("process ").expect("a process");
        let (pid, name) = root.split_once(": ").expect("a name");
        assert!(pids.contains(&pid), "{frames:?}");
        assert!(!name.contains(".py"), "arguments are not shown: {root}");
    }
}

/// Children by fork and by multiprocessing, those that were there and those that
/// came, are each seen in their own process in their own function and nowhere
/// else; of one that ends meanwhile the samples are kept.
#[test]
fn children() {
    for_every_that("subprocesses", is_one_of_some, |python| {
        let mut family = Family::of(python);
        let a = family.fork("fork a");
        let recording = recording_of(&family.0, &[]);
        let b = family.fork("pool b");
        recording.knows(&b);
        family.order(&format!("end {b}"), "ended ");
        let c = family.fork("fork c");
        recording.knows(&c);
        let (collapsed, run) = recording.stop();
        assert_roots(&collapsed, &[&family.pid(), &a, &b, &c]);
        for (pid, function) in [(&a, "work_a"), (&b, "work_b"), (&c, "work_c")] {
            assert_works(&collapsed, pid, function, &run);
        }
        let counted = "\n4 processes, 4 sampled\n";
        assert!(run.stderr.contains(counted), "{run:#?}");
    });
}

/// A process that calls itself something else goes by that name.
#[test]
fn name() {
    for_every_that("subprocesses-name", is_one_of_few, |python| {
        let mut family = Family::of(python);
        let a = family.fork("fork a");
        let recording = recording_of(&family.0, &[]);
        recording.knows(&a);
        kill(Pid::from_raw(a.parse().unwrap()), Signal::SIGUSR1).unwrap();
        eventually("the child has another name", || {
            let comm = fs::read_to_string(format!("/proc/{a}/comm")).unwrap();
            (comm == "renamed\n").then_some(())
        });
        let (collapsed, run) = recording.stop();
        assert_works(&collapsed, &a, "work_a", &run);
        let root = format!("process {a}: renamed");
        assert!(collapsed.stacks.iter().all(|(frames, _)| frames[0] == root));
    });
}

/// A child that runs another version is found, and followed when it becomes a
/// third one.
#[test]
fn another_version() {
    let here = |python: &Interpreter| !python.is_elsewhere() && python.command.len() == 1;
    let all: Vec<_> = Interpreter::all().iter().filter(|p| here(p)).collect();
    for_every_that("subprocesses-versions", here, |python| {
        let at = all.iter().position(|p| p.name == python.name).unwrap();
        let [second, third] = [1, 4].map(|step| all[(at + step) % all.len()]);
        let mut family = Family::of(python);
        let recording = recording_of(&family.0, &[]);
        let place = Place::below(second);
        let mut words = python_args(second, "execer.py", &place);
        words.extend(["--python", &third.command[0], "--to"].map(OsString::from));
        words.push(program_path(third, "after_exec.py", &place).into());
        let (pid, before) = family.spawn(&words);
        recording.knows(&pid);
        family.0.tell(&format!("tell {pid}\n"));
        let said = [0; 3].map(|_| family.0.line_after(""));
        let after = said.iter().find_map(|line| line.strip_prefix("truth "));
        let after: Value = serde_json::from_str(after.unwrap()).unwrap();
        // What it was is forgotten by now, and what it is may be known.
        recording.running.sampled();
        recording.knows(&pid);
        let (collapsed, run) = recording.stop();
        assert_roots(&collapsed, &[&family.pid(), &pid]);
        for truth in [&before, &after] {
            let function = truth["busy"].as_str().unwrap();
            let (there, _) = ticks(&collapsed, &pid, function);
            assert!(there >= 20, "{there} of {truth}: {collapsed:#?} {run:#?}");
        }
    });
}

/// Python below a shell is found, which has nothing of Python itself.
#[test]
fn below_a_shell() {
    for_every_that("subprocesses-shell", is_one_of_few, |python| {
        let place = Place::below(python);
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec 3<&0; "$@" <&3 & wait"#, "sh"]);
        command.args(python_args(python, "family.py", &place));
        prepare(&mut command, &place);
        let mut family = Family(Target::run(command, place));
        let recording = recording_of(&family.0, &[]);
        let a = family.fork("fork a");
        recording.knows(&a);
        let (collapsed, run) = recording.stop();
        assert_works(&collapsed, &a, "work_a", &run);
        assert!(
            run.stderr.contains("\n3 processes, 3 sampled\n"),
            "{run:#?}"
        );
    });
}

/// A child that is not Python is counted, and shown by its native stack if that is
/// asked for.
#[test]
fn not_python() {
    for_every_that("subprocesses-not-python", is_one_of_few, |python| {
        let mut family = Family::of(python);
        let cat = family.order("spawn cat", "spawned ");
        let (collapsed, run) = recording_of(&family.0, &["-i"]).stop();
        assert_roots(&collapsed, &[&family.pid()]);
        let counted = "\n2 processes, 1 sampled; 1 is not Python (-n shows it)\n";
        assert!(run.stderr.contains(counted), "{run:#?}");
        let recording = recording_of(&family.0, &["-in"]);
        recording.knows(&cat);
        let (collapsed, run) = recording.stop();
        let (there, all) = ticks(&collapsed, &cat, "");
        assert!(all >= 20 && there == 0, "{collapsed:#?} {run:#?}");
        assert!(
            run.stderr.contains("\n2 processes, 2 sampled\n"),
            "{run:#?}"
        );
    });
}

/// A process whose parent ends stays what it was: a grandchild, and all children
/// when the first process ends. The recording ends when all have.
#[test]
fn orphans() {
    for_every_that("subprocesses-orphans", is_one_of_some, |python| {
        let mut family = Family::of(python);
        let recording = recording_of(&family.0, &[]);
        let b = family.fork("orphan b");
        recording.knows(&b);
        // Now its parent ends.
        let c = family.fork("fork c");
        recording.knows(&c);
        (0..3).for_each(|_| recording.go_on());
        family.order("leave", "left ");
        let root = family.pid();
        eventually("the first process ends", || {
            let state = fs::read_to_string(format!("/proc/{root}/stat")).ok();
            state.is_none_or(|stat| stat.contains(") Z ")).then_some(())
        });
        (0..3).for_each(|_| recording.go_on());
        assert!(family.0.end().success());
        let (collapsed, run) = recording.end();
        assert!(run.stderr.contains("all its descendants"), "{run:#?}");
        assert_works(&collapsed, &b, "work_b", &run);
        assert_works(&collapsed, &c, "work_c", &run);
        // It has been there for longer, but not if it was lost with its parent.
        let [b, c] = [(b, "work_b"), (c, "work_c")].map(|(p, f)| ticks(&collapsed, &p, f).0);
        assert!(b * 10 >= c * 9, "{b} and {c}: {collapsed:#?} {run:#?}");
    });
}

/// Other options are good for every process of a tree.
#[test]
fn together() {
    for_every_that("subprocesses-together", is_one_of_some, |python| {
        let mut family = Family::of(python);
        let a = family.fork("fork a");
        let first = if python.free_threaded {
            "-nti"
        } else {
            "-ntgi"
        };
        let some = [
            &[first][..],
            &["-nt", "--mode", "cpu"],
            &["-tF", "--blocking"],
        ];
        for options in some {
            let recording = recording_of(&family.0, options);
            let b = family.fork("fork b");
            recording.knows(&a);
            recording.knows(&b);
            let (collapsed, run) = recording.stop();
            family.order(&format!("end {b}"), "ended ");
            for (pid, function) in [(&a, "work_a"), (&b, "work_b")] {
                assert_works(&collapsed, pid, function, &run);
                let root = format!("process {pid}: ");
                let thread = format!("thread {pid} \"MainThread\"");
                let of_it = collapsed.stacks.iter().map(|(frames, _)| frames);
                for frames in of_it.filter(|frames| frames[0].starts_with(&root)) {
                    assert_eq!(frames[1], thread, "{options:?}: {frames:?}");
                }
            }
        }
    });
}

/// Files that are opened once for the first process may come late.
const SPARE: usize = 20;

/// Two hundred short children come and go: nothing is left of them, neither files
/// nor threads, and nothing fails.
#[test]
fn many_short_children() {
    for_every_that("subprocesses-many", is_one_of_few, |python| {
        for options in [&[][..], &["-n"], &["--blocking"]] {
            let mut family = Family::of(python);
            let recording = recording_of(&family.0, options);
            family.order("flock 20", "flocked ");
            recording.go_on();
            let (files, threads) = recording.holds();
            family.order("flock 200", "flocked ");
            eventually("what it took is given back", || {
                recording.running.sampled();
                let now = recording.holds();
                (now.0 <= files + SPARE && now.1 <= threads).then_some(())
            });
            let a = family.fork("fork a");
            recording.knows(&a);
            recording.go_on();
            let (collapsed, run) = recording.stop();
            assert_works(&collapsed, &a, "work_a", &run);
        }
    });
}

/// With few files to open fewer processes are sampled, and it is said.
#[test]
fn few_descriptors() {
    for_every_that("subprocesses-few-descriptors", is_one_of_few, |python| {
        let mut family = Family::of(python);
        let children: Vec<_> = (0..12).map(|_| family.fork("fork a")).collect();
        let mut limited = Command::new("sh");
        limited.args(["-c", r#"ulimit -n 48; exec "$0" "$@""#]);
        limited.args([env!("CARGO_BIN_EXE_firefinch"), "record"]);
        let (collapsed, run) = recording_by(limited, &family.0, &[]).stop();
        assert!(run.stderr.contains("at a time left alone"), "{run:#?}");
        let seen = |pid: &&String| ticks(&collapsed, pid, "work_a").0 > 0;
        let seen = children.iter().filter(seen).count();
        assert!((1..children.len()).contains(&seen), "{seen}: {run:#?}");
    });
}

/// A dump has a heading for each process, and what its threads do below.
#[test]
fn dump() {
    for_every_that("subprocesses-dump", is_one_of_some, |python| {
        let mut family = Family::of(python);
        let a = family.fork("fork a");
        family.order("spawn cat", "spawned ");
        let b = family.fork("orphan b");
        let run = firefinch(["dump", "-s", &family.pid()]).succeeded();
        let parts: Vec<_> = run.stdout.split("Process ").skip(1).collect();
        let of = |pid: &str| {
            parts
                .iter()
                .find(|part| part.starts_with(&format!("{pid}: ")))
        };
        assert_eq!(parts.len(), 4, "{run:#?}");
        for (pid, function) in [(&a, "    work_a ("), (&b, "    work_b (")] {
            assert!(of(pid).unwrap().contains(function), "{run:#?}");
            assert_eq!(of(pid).unwrap().matches("\nThread ").count(), 1, "{run:#?}");
        }
        let counted = "5 processes, 4 sampled; 1 is not Python (-n shows it)";
        assert!(run.stderr.contains(counted), "{run:#?}");
    });
}

/// A process that was forked by one of several threads has one thread, whatever the
/// interpreter keeps of the others.
#[test]
fn forked_by_a_thread() {
    for_every_that("subprocesses-threads", is_one_of_some, |python| {
        let mut family = Family::of(python);
        let a = family.fork("fork a");
        eventually("the child is where it works", || {
            let run = firefinch(["dump", &a]).succeeded();
            run.stdout.contains("    work_a (").then_some(())
        });
        let run = firefinch(["dump", &a]).succeeded();
        assert_eq!(run.stdout.matches("\nThread ").count(), 1, "{run:#?}");
    });
}

/// The live view has the sum of all processes.
#[test]
fn top() {
    for_every_that("subprocesses-top", is_one_of_few, |python| {
        let mut family = Family::of(python);
        family.fork("fork a");
        let mut command = command(["top", "-s", &family.pid()]);
        let running = Running::start(&mut command);
        running.sampled();
        family.fork("fork b");
        // Longer than what is shown is recent.
        (0..15).for_each(|_| running.sampled());
        running.signal(Signal::SIGINT);
        let run = running.end().succeeded();
        assert!(run.stdout.contains(" in 3 processes, "), "{run:#?}");
        for function in ["work_a (", "work_b ("] {
            assert!(run.stdout.contains(function), "{run:#?}");
        }
    });
}
