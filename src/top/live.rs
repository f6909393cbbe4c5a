use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::SIGCONT;
use signal_hook::flag;

use super::app::{App, Request};
use super::controls::Controls;
use super::screen::Screen;
use super::slice::Slice;
use super::view::draw;

/// How long a slice may wait to be shown.
const PATIENCE: Duration = Duration::from_millis(100);

/// Shows slices on the terminal and obeys keys, until either the slices or the
/// user's patience end.
pub(super) fn run(
    slices: &Receiver<Box<Slice>>,
    controls: &Controls,
    app: &mut App,
) -> io::Result<()> {
    let continued = Arc::new(AtomicBool::new(false));
    flag::register(SIGCONT, Arc::clone(&continued))?;
    let mut screen = Screen::open()?;
    let mut stale = true;
    let mut suspended = false;
    loop {
        match slices.try_recv() {
            Ok(slice) => {
                app.add(&slice);
                stale |= !app.is_paused();
                continue;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {}
        }
        if controls.is_suspending() {
            thread::sleep(PATIENCE);
            continue;
        }
        // Where nobody can continue us we have not been stopped either.
        if continued.swap(false, Ordering::Relaxed) || suspended {
            suspended = false;
            screen.retake()?;
            stale = true;
        }
        if stale {
            screen.draw(|frame| draw(frame, app))?;
            stale = false;
        }
        if !event::poll(PATIENCE)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) => match app.press(&key) {
                Request::Quit => {
                    drop(screen);
                    quit();
                    // The rest is for the last table.
                    slices.iter().for_each(|slice| app.add(&slice));
                    return Ok(());
                }
                Request::Suspend => {
                    screen.leave();
                    controls.suspend();
                    suspended = true;
                }
                Request::Nothing => {
                    controls.sample(app.whom);
                    stale = true;
                }
            },
            Event::Resize(..) => stale = true,
            _ => {}
        }
    }
}

/// As a signal from outside would: it also ends the recorder's sleep.
fn quit() {
    let _ = kill(Pid::this(), Signal::SIGINT);
}
