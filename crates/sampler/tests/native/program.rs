//! Programs of `tests/native`, built and run, and their stacks.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firefinch_process::{Activity, Pid, Process, ProcessMemory, Stopper, Thread, Tid};
use firefinch_sampler::native::{Native, NativeStack};
use tempfile::TempDir;

/// A program, in a directory of its own.
pub(crate) struct Program {
    path: PathBuf,
    dir: TempDir,
}

/// A program that runs until its end is dropped.
pub(crate) struct Target {
    _alone: MutexGuard<'static, ()>,
    child: Child,
    process: Arc<Process>,
    memory: Arc<ProcessMemory>,
    pub(crate) native: Native,
    stopper: Stopper,
}

/// One target runs at a time: each is busy on a processor.
static ALONE: Mutex<()> = Mutex::new(());

/// Between looks.
const PACE: Duration = Duration::from_micros(100);

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds a source with a compiler; `None` if there is no such compiler, which
/// is not allowed where all is required to run.
pub(crate) fn build(compiler: &[&str], source: &str) -> Option<Program> {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("program");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/native");
    let (tool, arguments) = compiler.split_first().expect("a compiler");
    let mut command = Command::new(tool);
    command.args(arguments).arg("-o").arg(&path);
    // A cache that is gone with the test.
    command.env("GOCACHE", dir.path()).env("GO111MODULE", "off");
    command.arg(root.join(source));
    succeeds(command).then_some(Program { path, dir })
}

/// Runs a tool that changes a program; whether there is one, as for a compiler.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(name);
    command.args(arguments);
    succeeds(command)
}

fn succeeds(mut command: Command) -> bool {
    let Ok(output) = command.output() else {
        let tool = command.get_program();
        let required = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!required, "{tool:?} is needed for this test");
        eprintln!("not tested: {tool:?} is missing");
        return false;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    true
}

impl Program {
    /// Where it is.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The directory that is its own.
    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Target {
        Target::run(Command::new(&self.path))
    }

    /// The same with its directory for its root.
    pub(crate) fn start_in_own_root(&self) -> Target {
        let mut command = Command::new("unshare");
        if fs::metadata("/proc/self").expect("ours").uid() != 0 {
            command.arg("--map-root-user");
        }
        command.arg("--root").arg(self.directory()).arg("/program");
        Target::run(command)
    }
}

impl Target {
    fn run(mut command: Command) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it speaks");
        assert_eq!(line, "ready\n");
        let pid = i32::try_from(child.id()).expect("a number");
        let process = Process::open(Pid::new(pid).expect("positive"));
        let process = Arc::new(process.expect("alive"));
        let memory = Arc::new(process.memory().expect("readable"));
        Target {
            _alone: alone,
            native: Native::new(&process, &memory, &Arc::default()).expect("readable"),
            stopper: Stopper::new(&process).expect("a thread"),
            child,
            process,
            memory,
        }
    }

    /// The threads.
    fn threads(&self) -> Vec<Thread> {
        let tids = self.process.threads().expect("alive").into_iter();
        tids.filter_map(|tid| Thread::open(&self.process, tid).ok())
            .collect()
    }

    /// The first thread, once it waits.
    pub(crate) fn waiting(&self) -> Thread {
        let tid = self.process.pid().leader();
        let thread = Thread::open(&self.process, tid).expect("alive");
        let begun = Instant::now();
        while thread.activity().expect("alive") == Activity::Running {
            assert!(begun.elapsed() < PATIENCE, "it never waits");
            std::thread::yield_now();
        }
        thread
    }

    /// The stack of a thread that waits, without a stop.
    pub(crate) fn blocked(&mut self, thread: &Thread) -> NativeStack {
        let captured = self.native.capture_blocked(thread, || ());
        let (capture, ()) = captured.expect("it stands still");
        self.native.stack(capture).expect("captured")
    }

    /// The stack of a thread that runs; `None` if it just does not.
    fn running(&mut self, tid: Tid) -> Option<NativeStack> {
        let mut capture = self.native.capture(tid);
        let memory = Arc::clone(&self.memory);
        let deadline = Instant::now() + PATIENCE;
        let capture = self.stopper.visit(tid, deadline, move |visit| {
            let registers = visit.ok()?.registers().ok()?;
            capture.fill_stopped(&registers, &*memory).ok()?;
            Some(capture)
        });
        self.native.stack(capture.expect("the tracer lives")?)
    }

    /// Stacks of the threads that run, once the first thread waits.
    pub(crate) fn sample(&mut self, times: usize) -> Vec<NativeStack> {
        let first = self.waiting().tid();
        self.sample_but(Some(first), times)
    }

    /// Stacks of the threads that run, the first thread too.
    pub(crate) fn sample_all(&mut self, times: usize) -> Vec<NativeStack> {
        self.sample_but(None, times)
    }

    fn sample_but(&mut self, left_out: Option<Tid>, times: usize) -> Vec<NativeStack> {
        let begun = Instant::now();
        let mut stacks = Vec::new();
        let mut stood = HashMap::new();
        while stacks.len() < times {
            assert!(begun.elapsed() < PATIENCE, "nobody runs");
            // A tracer that never sleeps would have the processor that the target is on.
            std::thread::sleep(PACE);
            for thread in self.threads() {
                let tid = thread.tid();
                let runs = thread.activity().is_ok_and(|now| now == Activity::Running);
                if !runs || Some(tid) == left_out {
                    continue;
                }
                if let Some(stack) = self.running(tid) {
                    // While it waits for a processor it is the same moment.
                    let at = stack.frames.first().map(|frame| (frame.address, frame.sp));
                    if stood.insert(tid, at) != Some(at) {
                        stacks.push(stack);
                    }
                }
            }
        }
        stacks
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names of all functions of a stack, newest first, inlined ones too.
pub(crate) fn names(stack: &NativeStack) -> Vec<&str> {
    let frames = stack.frames.iter();
    frames
        .flat_map(|frame| frame.place.symbols.iter().map(|symbol| &*symbol.name))
        .collect()
}

/// Those of the program itself.
pub(crate) fn own_names(stack: &NativeStack) -> Vec<&str> {
    let frames = stack.frames.iter();
    frames
        .filter(|frame| &*frame.place.module == "program")
        .flat_map(|frame| frame.place.symbols.iter().map(|symbol| &*symbol.name))
        .collect()
}
