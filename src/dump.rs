use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use firefinch_process::{AccessError, Cost, Pid, Question, Stopper, SyscallNumber};
use firefinch_report::Function;
use firefinch_sampler::{
    Activity, Census, Frame, NativeSummary, NotStopped, Target, TargetThread, descendants, motion,
    stop_running,
};

use crate::args::{DumpArgs, shown, stacks};
use crate::debuginfod::Debuginfod;
use crate::failure::{Failure, print, printable};
use crate::family::family;
use crate::limits::raise_open_files;
use crate::quality::quality;
use crate::signals::Stop;
use crate::wait::attach;

/// How long a thread may wait for a processor before it stops.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows every thread's stack now.
pub(crate) fn run(args: &DumpArgs, verbose: bool) -> Result<ExitCode, Failure> {
    let Some(pid) = args.pid() else {
        return Err(Failure::new(
            "no process given",
            "dump needs a PID",
            "firefinch dump PID",
        ));
    };
    let debuginfod = Debuginfod::of(&args.beyond)?;
    raise_open_files();
    let begun = Instant::now();
    let mut seen = look(pid, args)?;
    if let Some(client) = debuginfod {
        let stop = Stop::listen();
        let stop =
            stop.map_err(|error| Failure::new("cannot listen for signals", error, "report this"))?;
        if client.fetch(seen.native(), &stop) > 0
            && let Ok(again) = look(pid, args)
        {
            seen = again;
        }
    }
    print(&seen.text)?;
    if let Some(census) = &seen.census {
        eprintln!("{}", family(census));
    }
    if let Some(native) = seen.native() {
        eprintln!("{}", quality(&native, seen.root.process()));
    }
    if verbose {
        let mut cost = Cost::default();
        seen.targets()
            .for_each(|target| cost += target.memory().cost());
        eprintln!(
            "took {:.1} ms; {} reads of {} bytes",
            begun.elapsed().as_secs_f64() * 1e3,
            cost.calls,
            cost.bytes
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What was looked at, and what it did.
struct Seen {
    root: Target,
    descendants: Vec<Target>,
    text: String,
    /// What became of each process, if descendants were looked at.
    census: Option<Census>,
}

impl Seen {
    fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.root).chain(&self.descendants)
    }

    fn native(&self) -> Option<NativeSummary> {
        NativeSummary::sum(self.targets().filter_map(Target::native_summary))
    }
}

fn look(pid: Pid, args: &DumpArgs) -> Result<Seen, Failure> {
    let root = attach(pid, stacks(args.beyond.native(&args.frames)), None);
    let mut root = root.map_err(|error| Failure::attach(pid, &error))?;
    root.show(shown(args.frames.native));
    root.show_kernel(args.beyond.kernel);
    let (mut descendants, census) = match args.family.subprocesses {
        true => {
            let (found, census) = descendants(&root);
            (found, Some(census))
        }
        false => (Vec::new(), None),
    };
    let mut text = look_at(&mut root, args)?;
    for target in &mut descendants {
        // It may have ended meanwhile.
        if let Ok(more) = look_at(target, args) {
            text.push('\n');
            text.push_str(&more);
        }
    }
    Ok(Seen {
        root,
        descendants,
        text,
        census,
    })
}

fn look_at(target: &mut Target, args: &DumpArgs) -> Result<String, Failure> {
    target.set_patience(PATIENCE);
    target.refresh().map_err(|error| {
        Failure::new(
            format!(
                "cannot list the threads of process {}",
                target.process().pid()
            ),
            error,
            "try again: the process may be ending",
        )
    })?;
    render(target, args).map_err(|error| Failure::access(&error))
}

fn render(target: &mut Target, args: &DumpArgs) -> Result<String, AccessError> {
    let mut text = String::new();
    let process = target.process();
    let exe = process.exe().map(|exe| exe.path.display().to_string());
    let exe = printable(&exe.unwrap_or_default());
    let _ = writeln!(text, "Process {}: {exe}", process.pid());
    let _ = match target.runtime() {
        Some(runtime) => writeln!(text, "Python {}", runtime.version),
        None => writeln!(text, "no Python"),
    };
    target.look(Question::WhatAllDo);
    // Where stacks are native, each running thread is stopped by itself.
    let mut stopper = match args.blocking && !target.is_native() {
        true => Some(Stopper::new(target.process())?),
        false => None,
    };
    let stopped = stopper
        .as_mut()
        .map(|stopper| stop_running(stopper, target));
    target.heed_gil(true);
    // The list is newest first; people look for the main thread at the top.
    let mut reads = Vec::new();
    for index in (0..target.threads().len()).rev() {
        if target.is_merged_elsewhere(index) {
            continue;
        }
        let Some(thread) = target.threads().get(index) else {
            continue;
        };
        let motion = motion(stopped.as_ref(), thread);
        // Asked for each, as what was read of those before may have taken long.
        target.lock_holders();
        let holds_lock =
            (target.threads().get(index)).is_some_and(|thread| target.holds_lock(thread));
        let read = motion.map(|motion| target.read_one(index, motion));
        reads.push((index, holds_lock, read));
    }
    // What follows may ask the target's file system, which may be its own.
    drop(stopped);
    for (index, held_lock, read) in reads {
        let mut holds_lock = held_lock;
        let stack = read.map(|read| {
            read.map(|reading| {
                let stack = target.stack(reading);
                holds_lock = stack.holds_gil().unwrap_or(held_lock);
                stack.into_frames()
            })
        });
        let Some(thread) = target.threads().get(index) else {
            continue;
        };
        let _ = writeln!(text, "\n{}", heading(thread, holds_lock));
        match stack {
            Err(NotStopped) => text.push_str("    (could not be stopped)\n"),
            Ok(Ok(frames)) if frames.is_empty() => text.push_str("    (no Python frames)\n"),
            Ok(Ok(frames)) => {
                for frame in frames {
                    let _ = writeln!(text, "    {}", line(&frame, args.full_filenames));
                }
            }
            Ok(Err(lost)) => {
                let _ = writeln!(text, "    (not readable now: {lost})");
            }
        }
    }
    Ok(text)
}

fn heading(thread: &TargetThread, holds_lock: bool) -> String {
    let tid = match (thread.tid, thread.python) {
        (Some(tid), _) => tid.to_string(),
        (None, Some(python)) => format!("{:#x}", python.ident),
        (None, None) => "?".to_owned(),
    };
    let mut state = match thread.activity() {
        Activity::Running => "running".to_owned(),
        Activity::WaitingForGil => "waiting for the GIL".to_owned(),
        // Outside any system call: in a page fault, or stopped.
        Activity::Waiting(SyscallNumber::NONE) => "waiting".to_owned(),
        Activity::Waiting(syscall) => format!("waiting in {syscall}"),
        Activity::Ended => "ended".to_owned(),
        Activity::Unknown => "state unknown".to_owned(),
    };
    if holds_lock {
        state.push_str(", holds the GIL");
    }
    let name = thread.display_name();
    let interpreter = thread.python.and_then(|python| python.interpreter.id);
    let interpreter = match interpreter {
        Some(id) if id != 0 => format!(" in interpreter {id}"),
        _ => String::new(),
    };
    format!("Thread {tid} \"{}\"{interpreter}: {state}", printable(name))
}

fn line(frame: &Frame, full: bool) -> String {
    let text = match frame {
        Frame::Python {
            code,
            line,
            short_file,
        } => {
            let name = code.qualified_name.as_ref().unwrap_or(&code.name);
            let file = if full { &code.filename } else { short_file };
            let line = line.map_or_else(|| "?".to_owned(), |line| line.to_string());
            format!("{name} ({file}:{line})")
        }
        Frame::Native {
            symbol,
            short_file,
            module,
        } => {
            let file = if full { &symbol.file } else { short_file };
            let function = Function {
                name: &symbol.name,
                file: file.as_deref(),
                line: symbol.line.and_then(NonZeroU32::new),
                module: Some(module),
            };
            let inlined = if symbol.inlined { " inlined" } else { "" };
            format!("{function}{inlined}")
        }
    };
    printable(&text)
}
