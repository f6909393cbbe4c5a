use std::collections::BTreeMap;
use std::process::Command;

/// What gdb says of a frame that is on the stack: not inlined, nor inferred from
/// debug information because it left by a jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GdbFrame {
    pub(crate) pc: u64,
    /// Empty if it has none.
    pub(crate) name: String,
}

/// Prints each thread's frames, by gdb's own Python.
const SCRIPT: &str = r"python
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame = gdb.newest_frame()
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            print('FRAME', thread.ptid[1], hex(frame.pc()), frame.name() or '')
        frame = frame.older()
end
";

/// The stacks of all threads of a stopped process as gdb sees them, newest
/// frame first; `None` if there is no gdb.
pub(crate) fn stacks(pid: i32) -> Option<BTreeMap<i32, Vec<GdbFrame>>> {
    if !super::has("gdb") {
        super::missing("gdb");
        return None;
    }
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), SCRIPT).expect("written");
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-iex", "set debuginfod enabled off"]);
    // A stack may be deeper than gdb shows unless asked.
    command.args(["-ex", "set backtrace past-main on", "-p", &pid.to_string()]);
    let output = command
        .arg("-x")
        .arg(script.path())
        .output()
        .expect("gdb starts");
    let mut stacks: BTreeMap<i32, Vec<GdbFrame>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.splitn(4, ' ');
        if words.next() != Some("FRAME") {
            continue;
        }
        let tid = words.next().and_then(|w| w.parse().ok()).expect("a thread");
        let pc = words
            .next()
            .and_then(|w| w.strip_prefix("0x"))
            .expect("an address");
        let pc = u64::from_str_radix(pc, 16).expect("an address");
        let name = words.next().unwrap_or("").to_owned();
        stacks.entry(tid).or_default().push(GdbFrame { pc, name });
    }
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!stacks.is_empty(), "gdb saw nothing: {error}");
    Some(stacks)
}
