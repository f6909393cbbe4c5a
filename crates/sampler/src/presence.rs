use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use firefinch_process::Process;

/// Finds out whether files are there, in a file system that may never answer: that of
/// a server that is gone, or one that the target itself serves.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Of a question that was not answered in time.
    late: Option<Receiver<bool>>,
}

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

impl Presence {
    /// Whether there is something at the path in the process's root; `false` if that
    /// cannot be had in time.
    pub(crate) fn of(&mut self, path: &Path, process: &Arc<Process>) -> bool {
        // What a program has loaded from is known to the kernel as a rule.
        process.is_known_in_root(path).unwrap_or_else(|| {
            let (path, process) = (path.to_owned(), Arc::clone(process));
            self.ask(PATIENCE, move || process.exists_in_root(path))
        })
    }

    /// Asks on a thread of its own, unless an earlier one still waits.
    fn ask(
        &mut self,
        patience: Duration,
        question: impl FnOnce() -> bool + Send + 'static,
    ) -> bool {
        let late = self.late.as_ref().map(Receiver::try_recv);
        if late == Some(Err(TryRecvError::Empty)) {
            return false;
        }
        self.late = None;
        let Ok(answer) = asked(question) else {
            return false;
        };
        answer.recv_timeout(patience).unwrap_or_else(|_| {
            self.late = Some(answer);
            false
        })
    }
}

fn asked(question: impl FnOnce() -> bool + Send + 'static) -> io::Result<Receiver<bool>> {
    let (tell, answer) = mpsc::channel();
    let builder = thread::Builder::new().name("files".to_owned());
    builder.spawn(move || tell.send(question()))?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system that does not answer is waited for once, and asked again when it
    /// has answered.
    #[test]
    fn late_answers() {
        let mut presence = Presence::default();
        let long = Duration::from_secs(60);
        assert!(presence.ask(long, || true));
        assert!(!presence.ask(long, || false));
        let (answer, wait) = mpsc::channel();
        assert!(!presence.ask(Duration::ZERO, move || wait.recv().unwrap()));
        assert!(!presence.ask(long, || unreachable!("an earlier one waits")));
        answer.send(true).unwrap();
        while let Some(Err(TryRecvError::Empty)) = presence.late.as_ref().map(Receiver::try_recv) {
            thread::yield_now();
        }
        assert!(presence.ask(long, || true));
    }
}
