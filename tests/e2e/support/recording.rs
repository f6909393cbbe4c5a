use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Collapsed, Run, Running};

/// A recording of collapsed stacks that goes on until it is told to end, or its target
/// ends.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) running: Running,
    pub(crate) directory: tempfile::TempDir,
}

impl Recording {
    /// By a command that lacks nothing but its output. Returns once it samples.
    pub(crate) fn by(command: &mut Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out.txt");
        let running = Running::start(command.arg("-o").arg(file));
        running.sampled();
        Self { running, directory }
    }

    /// Its end, with what it wrote, and nothing beside that.
    pub(crate) fn end(self) -> (Collapsed, Run) {
        let run = self.running.end().succeeded();
        assert_eq!(files_in(self.directory.path()), ["out.txt"], "{run:#?}");
        let text = fs::read_to_string(self.directory.path().join("out.txt")).unwrap();
        (Collapsed::parse(&text), run)
    }
}

/// The names of what is in a directory.
pub(crate) fn files_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    entries.map(|entry| name(entry).unwrap()).collect()
}
