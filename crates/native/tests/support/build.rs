use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A program built for a test, in a directory of its own.
pub(crate) struct Program {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
}

/// The source of a test program.
pub(crate) fn source(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/programs").join(name)
}

/// Runs a tool that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().expect("the tool starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

impl Program {
    /// Compiles a source from `tests/programs` by what its name asks for.
    pub(crate) fn build(name: &str, flags: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("program");
        let source = source(name);
        let extension = source.extension().and_then(|e| e.to_str());
        let mut command = match extension {
            Some("c") => Command::new("cc"),
            Some("cc") => Command::new("c++"),
            Some("rs") => Command::new("rustc"),
            other => panic!("no compiler for {other:?}"),
        };
        run(command.arg(&source).arg("-o").arg(&path).args(flags));
        Self { dir, path }
    }

    /// Moves its debug information to a file of its own, and strips it.
    pub(crate) fn split(&self, debug: &Path) {
        fs::create_dir_all(debug.parent().expect("a directory")).expect("made");
        let mut keep = Command::new("objcopy");
        keep.arg("--only-keep-debug").args([&*self.path, debug]);
        run(&mut keep);
        run(Command::new("strip").arg(&self.path));
    }

    /// Changes the program with a tool that takes its path last.
    pub(crate) fn with(self, tool: &str, args: &[&str]) -> Self {
        run(Command::new(tool).args(args).arg(&self.path));
        self
    }
}
