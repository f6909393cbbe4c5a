use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::crossterm::event::{self, Event};

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
    let mut screen = Screen::open()?;
    let mut stale = true;
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
        if stale {
            screen.draw(|frame| draw(frame, app))?;
            stale = false;
        }
        if !event::poll(PATIENCE)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) => {
                if app.press(&key) == Request::Quit {
                    drop(screen);
                    quit();
                    // The rest is for the last table.
                    slices.iter().for_each(|slice| app.add(&slice));
                    return Ok(());
                }
                controls.sample(app.whom);
                stale = true;
            }
            Event::Resize(..) => stale = true,
            _ => {}
        }
    }
}

/// As a signal from outside would: it also ends the recorder's sleep.
fn quit() {
    let _ = kill(Pid::this(), Signal::SIGINT);
}
