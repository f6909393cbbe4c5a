//! The live view: what a process does now, like top(1) by function.
//!
//! The recorder of `record` samples on the main thread, as it does there. Every
//! half second what it has is taken from it and handed to a thread of its own,
//! which draws and listens to keys: however slow the terminal is, it is not the
//! sampling that waits.

mod app;
mod captured;
mod controls;
mod data;
mod label;
mod live;
mod plain;
mod screen;
mod slice;
mod table;
#[cfg(test)]
mod tests;
mod totals;
mod view;
mod words;

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use firefinch_sampler::{End, Options, Progress, Recorder, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::args::{TopArgs, shown, stacks};
use crate::debuginfod::Debuginfod;
use crate::end::{ended_early, say_end};
use crate::failure::{Failure, NOTHING, no_thread, print};
use crate::family::family;
use crate::launch::Launched;
use crate::limits::raise_open_files;
use crate::program::title;
use crate::quality::quality;
use crate::signals::Stop;
use crate::wait::attach;

use app::App;
use captured::Captured;
use controls::Controls;
use data::SLICE;
use plain::{ROOMY, Size};
use slice::{Slice, Status};
use words::Span;

/// How many slices may wait for a view that is held up.
const WAITING: usize = 8;

/// How long the view may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows what a process does, until its end or the user's.
pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    let debuginfod = Debuginfod::of(&args.beyond)?;
    let stop = Stop::listen_calmly()
        .map_err(|error| Failure::new("cannot listen for signals", error, "report this"))?;
    let Some(pid) = args.process.pid() else {
        return launch(args, &stop, debuginfod.as_ref());
    };
    raise_open_files();
    let target = attach(pid, stacks(args.beyond.native(&args.frames)), Some(&stop));
    let target = target.map_err(|error| Failure::attach(pid, &error))?;
    watch(args, target, &stop, debuginfod.as_ref()).map(|_| ExitCode::SUCCESS)
}

/// Starts a command and shows what it does. Its output would destroy the screen:
/// the end of it is shown when the screen is given back.
fn launch(
    args: &TopArgs,
    stop: &Stop,
    debuginfod: Option<&Debuginfod>,
) -> Result<ExitCode, Failure> {
    let (captured, output) = Captured::begin().map_err(|error| {
        Failure::new("cannot make a pipe for the command", error, "report this")
    })?;
    let mut launched = Launched::start_into(&args.process.program, output)?;
    raise_open_files();
    let Some(pid) = launched.pid() else {
        return Ok(launched.wait());
    };
    let end = launched
        .attach(pid, stacks(args.beyond.native(&args.frames)), stop)
        .and_then(|target| watch(args, target, stop, debuginfod));
    stop.only_wait();
    let code = match end {
        // Who has seen enough of it wants it to end with the view.
        Ok(End::Interrupted) => {
            launched.terminate();
            launched.wait();
            ExitCode::SUCCESS
        }
        Ok(End::Replaced) => {
            eprintln!("firefinch: the command (PID {pid}) runs on; waiting for its end");
            launched.wait()
        }
        Ok(End::Exited | End::Duration) => launched.wait(),
        Err(failure) => {
            let code = failure.report();
            launched.terminate();
            launched.wait();
            code
        }
    };
    let lines = captured.last_lines();
    if !lines.is_empty() {
        eprintln!("firefinch: the last lines that the command printed:");
        lines.iter().for_each(|line| eprintln!("  {line}"));
    }
    Ok(code)
}

/// Shows a target and says at the end what was seen of it.
fn watch(
    args: &TopArgs,
    mut target: Target,
    stop: &Stop,
    debuginfod: Option<&Debuginfod>,
) -> Result<End, Failure> {
    target.show(shown(args.frames.native));
    target.show_kernel(args.beyond.kernel);
    let whom = args.sampling.whom();
    let options = Options {
        rate: args.sampling.rate,
        jitter: args.sampling.jitter(),
        duration: None,
        mode: args.sampling.mode(),
        whom,
        manner: args.sampling.manner(),
    };
    let pid = target.process().pid();
    let mut recorder =
        Recorder::new(target, title, options).map_err(|error| Failure::access(&error))?;
    if args.family.subprocesses {
        recorder = recorder
            .with_descendants(debuginfod.is_some())
            .map_err(no_thread)?;
    }
    let controls = Arc::new(Controls::new(whom));
    let app = App::new(args.labels.style(), whom);
    let (mut feed, view) = begin(app, &controls).map_err(no_thread)?;
    let end = recorder.run(&mut |progress| {
        *progress.whom = controls.whom();
        if controls.is_suspending() {
            suspend();
            controls.resumed();
        }
        match stop.is_asked() {
            true => ControlFlow::Break(()),
            false => feed.offer(progress),
        }
    });
    let is_launched = args.process.pid().is_none();
    let was_seen = recorder.sums().looks > 0;
    let profile = recorder.take_profile();
    let elapsed = Duration::from_nanos(profile.meta.duration_ns);
    let status = Status::of(recorder.targets(), &profile, controls.whom(), elapsed);
    feed.end(Box::new(Slice { profile, status }));
    let mut app = view.end()?;
    if is_launched && !was_seen && end == End::Exited {
        let evidence = "it was gone at the first tick";
        return Err(ended_early(pid, evidence));
    }
    say_end(end, pid, args.family.subprocesses);
    if let Some(client) = debuginfod {
        stop.renew();
        if client.fetch(recorder.native_summary(), stop) > 0 {
            let named = recorder.name_again();
            app.iter_mut()
                .for_each(|app| app.rename_functions(named.names()));
        }
    }
    if let Some(app) = app {
        let size = match has_screen() {
            true => Size::on_terminal(),
            false => ROOMY,
        };
        print(&plain::table(&app, Span::All, size))?;
        if end != End::Interrupted && app.data().all().samples == 0 {
            return Err(Failure::new(
                "nothing was sampled",
                words::counts(app.data(), Span::All),
                "firefinch dump shows what its threads do; -i samples waiting threads too",
            )
            .with_code(NOTHING));
        }
    }
    if let Some(census) = recorder.census() {
        eprintln!("{}", family(&census));
    }
    if let Some(native) = recorder.native_summary() {
        eprintln!("{}", quality(&native, recorder.target().process()));
    }
    Ok(end)
}

/// Stops all of us, until a shell has us go on; here no thread of the target stands
/// still for us. Where no shell could have us go on the kernel does not stop us
/// either (`is_current_pgrp_orphaned` in kernel/signal.c of Linux).
fn suspend() {
    let _ = kill(Pid::this(), Signal::SIGTSTP);
}

/// Hands what is recorded to the view.
#[derive(Debug)]
struct Feed {
    sender: SyncSender<Box<Slice>>,
    /// When the next slice is due.
    due: Duration,
    /// A slice that found no room yet.
    waiting: Option<Box<Slice>>,
}

impl Feed {
    /// Takes a slice if it is due; breaks if nobody wants one any more.
    fn offer(&mut self, progress: &mut Progress<'_>) -> ControlFlow<()> {
        let time = progress.tick.time;
        if self.waiting.is_none() && time >= self.due {
            self.due = time + SLICE;
            let whom = *progress.whom;
            let status = Status::of(progress.targets(), progress.profile(), whom, time);
            let profile = progress.take();
            self.waiting = Some(Box::new(Slice { profile, status }));
        }
        let sent = self.waiting.take().map(|slice| self.sender.try_send(slice));
        match sent {
            None | Some(Ok(())) => {}
            // It is held up: the recorder keeps what comes meanwhile.
            Some(Err(TrySendError::Full(slice))) => self.waiting = Some(slice),
            Some(Err(TrySendError::Disconnected(_))) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// The last one. A view that is held up does without.
    fn end(mut self, last: Box<Slice>) {
        for slice in self.waiting.take().into_iter().chain([last]) {
            let _ = self.sender.try_send(slice);
        }
    }
}

/// The thread that shows.
#[derive(Debug)]
struct View {
    ended: Receiver<(io::Result<()>, App)>,
}

/// Starts it.
fn begin(mut app: App, controls: &Arc<Controls>) -> io::Result<(Feed, View)> {
    let (sender, slices) = mpsc::sync_channel(WAITING);
    let (tell, ended) = mpsc::channel();
    let controls = Arc::clone(controls);
    let is_live = has_screen();
    let show = move || {
        let shown = match is_live {
            true => live::run(&slices, &controls, &mut app),
            false => plain::run(&slices, &mut app),
        };
        // Before it is told: whoever hears of it is not to wait for more.
        drop(slices);
        let _ = tell.send((shown, app));
    };
    thread::Builder::new().name("view".to_owned()).spawn(show)?;
    let feed = Feed {
        sender,
        due: SLICE,
        waiting: None,
    };
    Ok((feed, View { ended }))
}

/// Whether standard output can show a full screen.
fn has_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && !is_dumb
}

impl View {
    /// What it has when it has ended; `None` if it hangs.
    fn end(self) -> Result<Option<App>, Failure> {
        match self.ended.recv_timeout(PATIENCE) {
            Ok((Err(error), _)) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
                "cannot use the terminal",
                error,
                "firefinch top PID | cat for text; record and dump need no terminal",
            )),
            Ok((_, app)) => Ok(Some(app)),
            Err(RecvTimeoutError::Timeout) => {
                screen::close_at_once();
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Failure::new(
                "the live view has failed",
                "its thread has ended early",
                "report this with the message above",
            )),
        }
    }
}
