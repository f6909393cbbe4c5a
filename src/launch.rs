use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use firefinch_process::{Pid, Process};
use firefinch_sampler::{AttachError, Stacks, Target};
use nix::sys::signal::{Signal, kill};

use crate::end::ended_early;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::wait::attach_within;

/// How long a command that we started is waited for: a wrapper may prepare
/// for long before it starts an interpreter.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command that was started to be profiled.
#[derive(Debug)]
pub(crate) struct Launched {
    child: Child,
}

impl Launched {
    /// Starts it; its standard streams are ours.
    pub(crate) fn start(program: &[OsString]) -> Result<Self, Failure> {
        Self::spawn(program, |_| Ok(()))
    }

    /// Starts it with nothing to read, and with this for all that it writes.
    pub(crate) fn start_into(program: &[OsString], output: PipeWriter) -> Result<Self, Failure> {
        Self::spawn(program, |command| {
            let errors = output.try_clone()?;
            command.stdin(Stdio::null()).stdout(output).stderr(errors);
            Ok(())
        })
    }

    fn spawn(
        program: &[OsString],
        prepare: impl FnOnce(&mut Command) -> io::Result<()>,
    ) -> Result<Self, Failure> {
        let Some((name, arguments)) = program.split_first() else {
            return Err(Failure::new(
                "nothing to start",
                "there is no command behind --",
                "firefinch record -- python app.py",
            ));
        };
        let mut command = Command::new(name);
        command.args(arguments);
        let child = prepare(&mut command).and_then(|()| command.spawn());
        let child = child.map_err(|error| {
            Failure::new(
                format!("cannot start {}", name.display()),
                error,
                "check the command's name and PATH",
            )
        })?;
        Ok(Self { child })
    }

    /// Attaches to it, however long it takes to start an interpreter.
    pub(crate) fn attach(
        &mut self,
        pid: Pid,
        stacks: Stacks,
        stop: &Stop,
    ) -> Result<Target, Failure> {
        let process = Process::open(pid).map_err(AttachError::from);
        let target = process
            .and_then(|process| attach_within(&Arc::new(process), stacks, PATIENCE, Some(stop)));
        target.map_err(|error| {
            // Too short a life to be seen is no failure of the command.
            match self.is_running() {
                true => Failure::attach(pid, &error),
                false => ended_early(pid, &error),
            }
        })
    }

    /// Asks it to end, unless it has.
    pub(crate) fn terminate(&mut self) {
        // Until it was waited for, the number is its own.
        if self.is_running()
            && let Some(pid) = self.pid()
        {
            let _ = kill(nix::unistd::Pid::from_raw(pid.get()), Signal::SIGTERM);
        }
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
