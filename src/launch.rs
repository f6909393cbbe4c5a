use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};

use firefinch_process::Pid;

use crate::failure::Failure;

/// A command that was started to be profiled. Its standard streams are ours.
#[derive(Debug)]
pub(crate) struct Launched {
    child: Child,
}

impl Launched {
    pub(crate) fn start(program: &[OsString]) -> Result<Self, Failure> {
        let Some((name, arguments)) = program.split_first() else {
            return Err(Failure::new(
                "nothing to start",
                "there is no command behind --",
                "firefinch record -- python app.py",
            ));
        };
        let child = Command::new(name).args(arguments).spawn();
        let child = child.map_err(|error| {
            Failure::new(
                format!("cannot start {}", name.display()),
                error,
                "check the command's name and PATH",
            )
        })?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> Option<Pid> {
        Pid::new(i32::try_from(self.child.id()).ok()?)
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end and gives its status as a shell would.
    pub(crate) fn wait(mut self) -> ExitCode {
        match self.child.wait() {
            Ok(status) => exit_code(status),
            Err(_) => ExitCode::FAILURE,
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
