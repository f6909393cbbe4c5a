use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, pipe};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::failure::printable;

/// How much of the end of a command's output is kept.
const KEPT: usize = 64 << 10;

/// How many lines of it are shown.
const LINES: usize = 10;

/// How long the end of the output is waited for once the command has ended:
/// whatever it has started may write on.
const PATIENCE: Duration = Duration::from_millis(300);

/// The end of what a command prints while the screen is ours.
#[derive(Debug)]
pub(super) struct Captured {
    kept: Arc<Mutex<VecDeque<u8>>>,
    ended: Receiver<()>,
}

impl Captured {
    /// Keeps what is written to the other end, all of which must be closed here
    /// once the command has it.
    pub(super) fn begin() -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = pipe()?;
        let kept = Arc::new(Mutex::new(VecDeque::new()));
        let (tell, ended) = mpsc::channel();
        let keep = Arc::clone(&kept);
        thread::Builder::new()
            .name("captured".to_owned())
            .spawn(move || {
                read(reader, &keep);
                // Whoever has not waited for it does not want to know.
                let _ = tell.send(());
            })?;
        Ok((Self { kept, ended }, writer))
    }

    /// The last lines, when the command has ended.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let _ = self.ended.recv_timeout(PATIENCE);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LINES);
        lines[first..].iter().map(|line| printable(line)).collect()
    }
}

fn read(mut reader: PipeReader, kept: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(buffer.get(..length).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// However much is printed, the last lines of it are there.
    #[test]
    fn the_end_is_kept() {
        let (captured, mut writer) = Captured::begin().unwrap();
        for n in 0..50_000 {
            writeln!(writer, "line {n}\x1b[2J").unwrap();
        }
        drop(writer);
        let lines = captured.last_lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[LINES - 1], "line 49999\u{fffd}[2J");
        assert!(captured.kept.lock().unwrap().len() <= KEPT);
    }
}
