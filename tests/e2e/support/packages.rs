use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Interpreter, Place};

/// The interpreters that packages are installed for.
const FOR: [&str; 3] = ["3.11", "3.13", "3.14"];

/// Whether packages can be had for an interpreter.
pub(crate) fn has_packages(python: &Interpreter) -> bool {
    FOR.contains(&&*python.name)
}

/// The directory, as the interpreter sees it, that packages in C can be imported
/// from; they are installed if they are not there yet.
pub(crate) fn packages(python: &Interpreter, place: &Place) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/packages");
    let installed = Command::new(script).arg(&python.name).output().unwrap();
    let said = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "scripts/packages: {said}");
    let directory = PathBuf::from(String::from_utf8(installed.stdout).unwrap().trim_end());
    if !python.is_elsewhere() {
        return directory;
    }
    let mut copy = Command::new("cp");
    let copied = copy.arg("-r").arg(directory).arg(place.outside());
    assert!(copied.status().unwrap().success(), "{copy:?}");
    let name = format!("packages-{}", python.name);
    place.inside().join(name)
}
