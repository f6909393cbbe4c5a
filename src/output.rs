use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{ELSEWHERE, Failure};

/// Where the result goes. It is opened before sampling begins, so that what
/// cannot be written is found out first.
#[derive(Debug)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// A pipe or device that exists already: written in place.
    Device(PathBuf),
    /// A regular file, old or new: written beside its place and moved there.
    File {
        path: PathBuf,
        temporary: NamedTempFile,
    },
}

impl Output {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        let what = format!("cannot write {}", path.display());
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(Failure::new(
                    what,
                    "it is a directory",
                    format!("-o {}", path.join("flame.svg").display()),
                ));
            }
            Ok(meta) if !meta.is_file() => return Ok(Self::Device(path.to_owned())),
            _ => {}
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = temporary_in(directory).map_err(|error| {
            let next = if error.kind() == io::ErrorKind::NotFound {
                format!("mkdir -p {}", directory.display())
            } else {
                "-o with a directory that you can write to, or -o - for standard output".to_owned()
            };
            let evidence = format!("in the directory {}: {error}", directory.display());
            Failure::new(what, evidence, next)
        })?;
        Ok(Self::File {
            path: path.to_owned(),
            temporary,
        })
    }

    /// Writes the whole result. If its place refuses it, it goes elsewhere
    /// rather than be lost, and the failure says where.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                let written = out.write_all(bytes).and_then(|()| out.flush());
                written.or_else(|error| rescue("standard output", &error, bytes))
            }
            Self::Device(path) => {
                let written = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .and_then(|mut file| file.write_all(bytes));
                written.or_else(|error| rescue(&path.display().to_string(), &error, bytes))
            }
            Self::File {
                path,
                mut temporary,
            } => {
                let written = temporary
                    .write_all(bytes)
                    .and_then(|()| temporary.as_file().sync_all())
                    .and_then(|()| temporary.persist(&path).map_err(|e| e.error));
                match written {
                    Ok(_) => Ok(()),
                    Err(error) => rescue(&path.display().to_string(), &error, bytes),
                }
            }
        }
    }
}

/// Beside the final place, so that moving it there is atomic. With the
/// permissions that an ordinary new file has under the user's umask.
fn temporary_in(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".firefinch-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
}

/// Tries other places for a result that its own place refused.
fn rescue(place: &str, error: &io::Error, bytes: &[u8]) -> Result<(), Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let places = [Some(std::env::temp_dir()), home, Some("/dev/shm".into())];
    let saved = places.into_iter().flatten().find_map(|directory| {
        let mut file = tempfile::Builder::new()
            .prefix("firefinch-rescued-")
            .tempfile_in(directory)
            .ok()?;
        file.write_all(bytes).ok()?;
        file.as_file().sync_all().ok()?;
        let (_, path) = file.keep().ok()?;
        Some(path)
    });
    let what = format!("cannot write {place}");
    Err(match saved {
        Some(path) => Failure::new(
            what,
            format!("{error}; the result is safe in {}", path.display()),
            format!("make room, then: mv {} {place}", path.display()),
        ),
        None => Failure::new(
            what,
            format!("{error}; no other directory took it either"),
            "make room and record again, with -o - to pass the result on",
        ),
    }
    .with_code(ELSEWHERE))
}
