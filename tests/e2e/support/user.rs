use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Another user than the one who runs the tests, with no rights of its own.
const NOBODY: &str = "65534";

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs commands without any rights; only root can do that.
#[derive(Debug)]
pub(crate) struct Nobody(TempDir);

impl Nobody {
    /// With a copy of firefinch where everyone can reach it.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let nobody = Self(directory);
        fs::copy(env!("CARGO_BIN_EXE_firefinch"), nobody.firefinch()).unwrap();
        nobody
    }

    fn firefinch(&self) -> std::path::PathBuf {
        self.0.path().join("firefinch")
    }

    /// The arguments of a `firefinch` command, run as nobody.
    pub(crate) fn command(&self, firefinch: &Command) -> Command {
        assert_eq!(
            firefinch.get_program(),
            Path::new(env!("CARGO_BIN_EXE_firefinch"))
        );
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(self.firefinch()).args(firefinch.get_args());
        command
    }
}
