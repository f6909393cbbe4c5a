use crate::procfs::ProcDir;
use crate::{AccessError, Pid, Step};

/// All processes that `/proc` shows us, in the order of their numbers; those
/// that end meanwhile, zombies and kernel threads included.
///
/// # Errors
/// [`AccessError`] if `/proc` cannot be read.
pub fn list() -> Result<Vec<Pid>, AccessError> {
    let numbers = ProcDir::open("/proc").and_then(|dir| dir.list_numbers("."));
    let numbers =
        numbers.map_err(|error| AccessError::io(own_pid(), Step::ListProcesses, &error))?;
    let mut pids: Vec<Pid> = numbers.into_iter().filter_map(Pid::new).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Our own process.
pub(crate) fn own_pid() -> Pid {
    let id = i32::try_from(std::process::id()).ok().and_then(Pid::new);
    id.expect("getpid() is positive")
}
