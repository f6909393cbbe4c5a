//! The corpus of `tests/corpus`, as `scripts/corpus` makes it.
#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use firefinch_snapshot::Capture;

/// One snapshot of the corpus.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The interpreter's name and the program's, `3.13t/threads`.
    pub(crate) name: String,
    /// Without an extension.
    path: PathBuf,
}

impl Entry {
    /// The file as it is.
    pub(crate) fn file(&self) -> Vec<u8> {
        fs::read(self.path.with_extension("snapshot")).expect("the corpus can be read")
    }

    /// What it holds.
    pub(crate) fn capture(&self) -> Capture {
        Capture::from_file(&self.file()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// What the program itself printed.
    pub(crate) fn truth(&self) -> String {
        fs::read_to_string(self.path.with_extension("truth")).expect("a truth for each snapshot")
    }
}

/// Every snapshot there is, in order of name.
pub(crate) fn corpus() -> Vec<Entry> {
    corpus_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus"))
}

/// The same, in this directory.
pub(crate) fn corpus_in(above: &Path) -> Vec<Entry> {
    let list = |directory: &Path| {
        let entries = fs::read_dir(directory).expect("the corpus is there");
        entries.map(|entry| entry.expect("a name").path())
    };
    let name = |path: &Path| {
        let name = path.file_name().expect("a name");
        name.to_str().expect("of ASCII").to_owned()
    };
    let mut found = Vec::new();
    for interpreter in list(above).filter(|path| path.is_dir()) {
        for file in list(&interpreter) {
            if file.extension().is_some_and(|e| e == "snapshot") {
                let path = file.with_extension("");
                let name = format!("{}/{}", name(&interpreter), name(&path));
                found.push(Entry { name, path });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!found.is_empty(), "no snapshot in {}", above.display());
    found
}
