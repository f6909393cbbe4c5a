use std::cell::Cell;
use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Locked while something is drawn, so that nobody else writes in between.
static DRAWING: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether it is this thread that draws.
    static DRAWS: Cell<bool> = const { Cell::new(false) };
}

/// The terminal while a full screen is drawn on it. It is given back as it was
/// when this is dropped, and before the message of a panic in any thread.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal; this thread is going to draw.
    pub(super) fn open() -> io::Result<Self> {
        close_before_panics();
        DRAWS.set(true);
        let opened = take().and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        if opened.is_err() {
            give_back();
        }
        Ok(Self { terminal: opened? })
    }

    /// Gives the terminal back for a while.
    #[expect(clippy::unused_self, reason = "only who has it can give it back")]
    pub(super) fn leave(&mut self) {
        give_back();
    }

    /// Takes the terminal again, whoever has had it and whatever was done to it.
    pub(super) fn retake(&mut self) -> io::Result<()> {
        // The modes that are known for ours may be a shell's by now.
        disable_raw_mode()?;
        // A new one draws everything; the old one shows the cursor as it goes.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        take()?;
        execute!(stdout(), Clear(ClearType::All))
    }

    /// Draws what has changed, unless the terminal was given back.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        if TAKEN.load(Ordering::SeqCst) {
            self.terminal.draw(picture)?;
        }
        Ok(())
    }
}

/// Has the terminal show full screens and pass on keys at once.
fn take() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide)
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back though its thread hangs in drawing, as far as that
/// can be done.
pub(super) fn close_at_once() {
    match drawn_within(Duration::ZERO) {
        Some(_) => give_back(),
        None => only_modes(),
    }
}

/// How long a panic waits for what is being drawn.
const PATIENCE: Duration = Duration::from_millis(500);

/// Keeps everybody from drawing once what is being drawn is done. `None` if that takes
/// longer: the terminal may have been stopped, by Ctrl-S or its other end.
fn drawn_within(patience: Duration) -> Option<MutexGuard<'static, ()>> {
    let begun = Instant::now();
    loop {
        match DRAWING.try_lock() {
            Ok(drawn) => return Some(drawn),
            Err(TryLockError::Poisoned(drawn)) => return Some(drawn.into_inner()),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= patience => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What is written now would hang as well: the modes must do.
fn only_modes() {
    let _ = disable_raw_mode();
}

/// Gives the terminal back if it was taken.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // The modes first: they can be had though nobody reads what is written.
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
    }
}

/// What a panic says would vanish with the screen that it is said on.
fn close_before_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // The thread that draws would wait for itself.
            let drawn = match DRAWS.get() {
                true => Some(None),
                false => drawn_within(PATIENCE).map(Some),
            };
            match drawn {
                Some(_) => give_back(),
                None => only_modes(),
            }
            drop(drawn);
            before(info);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic does not wait for ever for a terminal that takes nothing.
    #[test]
    fn stopped_terminal() {
        let drawing = drawn_within(Duration::ZERO).unwrap();
        let other = thread::spawn(|| drawn_within(Duration::from_millis(1)).is_none());
        assert!(other.join().unwrap());
        drop(drawing);
        assert!(drawn_within(Duration::ZERO).is_some());
    }
}
