//! Programs for the tests: built, stopped, looked at, and ended with the test.
#![allow(dead_code)] // each test file uses its own part

pub(crate) mod build;
pub(crate) mod files;
pub(crate) mod gdb;
#[cfg(target_arch = "x86_64")]
pub(crate) mod oracle;
#[cfg(target_arch = "x86_64")]
pub(crate) mod target;

/// Says that something is not tested as a tool is missing, which is not
/// allowed where all is required to run.
pub(crate) fn missing(tool: &str) {
    let required = std::env::var_os("CI").is_some_and(|v| v == "true");
    assert!(!required, "{tool} is needed for this test");
    eprintln!("not tested: {tool} is missing");
}

/// Whether a tool can be started.
pub(crate) fn has(tool: &str) -> bool {
    let mut command = std::process::Command::new(tool);
    command.arg("--version").stdin(std::process::Stdio::null());
    command.output().is_ok_and(|output| output.status.success())
}
