use firefinch_process::Process;

use crate::failure::printable;

/// The name of what a process runs: its executable's, which it cannot choose,
/// else what it calls itself.
pub(crate) fn name(process: &Process) -> String {
    process
        .exe()
        .ok()
        .and_then(|exe| Some(exe.path.file_name()?.to_string_lossy().into_owned()))
        .or_else(|| process.comm().ok())
        .unwrap_or_default()
}

/// What to call a target: its name only, as arguments may hold secrets.
pub(crate) fn title(process: &Process) -> String {
    format!("{} (PID {})", printable(&name(process)), process.pid())
}
