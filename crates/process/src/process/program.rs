use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::maps::strip_deleted;
use crate::{AccessError, Process, Step};

/// The path of an executable, as the kernel shows it to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExePath {
    /// The path, without the ` (deleted)` mark.
    pub path: PathBuf,
    /// The kernel says the file has been unlinked.
    pub deleted: bool,
}

/// MAX_ARG_STRLEN is 128 KB for one argument; enough for any use here.
const MAX_COMMAND_LINE: u64 = 256 * 1024;

/// What it runs, and what it is called.
impl Process {
    /// What it was exec'ed from.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted or gone.
    pub fn exe(&self) -> Result<ExePath, AccessError> {
        let link = self.read_link("exe")?;
        let (path, deleted) = strip_deleted(link.as_os_str().as_bytes());
        let path = Path::new(OsStr::from_bytes(path)).to_owned();
        Ok(ExePath { path, deleted })
    }

    /// Its working directory, as the kernel shows it to us.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted or gone.
    pub fn cwd(&self) -> Result<PathBuf, AccessError> {
        self.read_link("cwd")
    }

    /// Its arguments, cut at 256 KB. Empty if it has overwritten them.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn command_line(&self) -> Result<Vec<Vec<u8>>, AccessError> {
        let text = self.dir.read_bounded("cmdline", MAX_COMMAND_LINE);
        let text = text.map_err(|e| AccessError::io(self.pid, Step::ReadCommandLine, &e))?;
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(text.split(|b| *b == 0).map(<[u8]>::to_vec).collect())
    }

    /// Its short name, at most 15 bytes; bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// [`AccessError`] if gone.
    pub fn comm(&self) -> Result<String, AccessError> {
        let text = self.dir.read("comm");
        let text = text.map_err(|e| AccessError::io(self.pid, Step::ReadStat, &e))?;
        let text = text.strip_suffix(b"\n").unwrap_or(&text);
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}
