use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::linkat;
use tempfile::NamedTempFile;

use crate::failure::{ELSEWHERE, Failure};

/// Where the result goes. That it can be written there is found out before
/// sampling begins; until the end, nothing is left there that a sudden death of
/// ours would leave behind.
#[derive(Debug)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// A pipe or device that exists already: written in place.
    Device {
        /// What it was at the path when that was asked for; not open for writing yet,
        /// which may wait for a reader. The path may lead elsewhere by the end.
        handle: File,
        path: PathBuf,
    },
    /// A regular file, old or new: written beside its place and moved there.
    File {
        path: PathBuf,
        /// Of the file that is replaced.
        permissions: Option<Permissions>,
    },
}

impl Output {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" || path == Path::new("/dev/stdout") {
            return Ok(Self::Stdout);
        }
        let what = format!("cannot write {}", path.display());
        if path.as_os_str().is_empty() {
            let evidence = "the name of the output file is empty";
            return Err(Failure::new("cannot write", evidence, "-o flame.svg"));
        }
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_PATH.bits())
            .open(path);
        let found = handle.and_then(|handle| Ok((handle.metadata()?, handle)));
        let permissions = match found {
            Ok((meta, _)) if meta.is_dir() => {
                return Err(Failure::new(
                    what,
                    "it is a directory",
                    format!("-o {}", path.join("flame.svg").display()),
                ));
            }
            Ok((meta, handle)) if !meta.is_file() => {
                let path = path.to_owned();
                return Ok(Self::Device { handle, path });
            }
            Ok((meta, _)) => Some(meta.permissions()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::new(what, reason(path, &error), OTHER_PLACE)),
        };
        // Behind a link, the file that it leads to is replaced, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = directory_of(&path);
        if !directory.exists() {
            let evidence = format!("there is no directory {}", directory.display());
            let next = format!("mkdir -p {}", directory.display());
            return Err(Failure::new(what, evidence, next));
        }
        if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            let next = format!("-o {}", path.join("flame.svg").display());
            return Err(Failure::new(what, "there is no such directory", next));
        }
        if let Err(error) = temporary_in(directory, create) {
            let evidence = format!(
                "cannot make a file in the directory {}: {error}",
                directory.display()
            );
            return Err(Failure::new(what, evidence, OTHER_PLACE));
        }
        Ok(Self::File { path, permissions })
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
            Self::Device { handle, path } => {
                let written = OpenOptions::new()
                    .write(true)
                    .open(format!("/proc/self/fd/{}", handle.as_raw_fd()))
                    .and_then(|mut file| file.write_all(bytes));
                written.or_else(|error| rescue(&path.display().to_string(), &error, bytes))
            }
            Self::File { path, permissions } => replace(&path, permissions, bytes)
                .or_else(|error| rescue(&path.display().to_string(), &error, bytes)),
        }
    }
}

/// What to do where nothing can be written.
const OTHER_PLACE: &str = "-o with a directory that you can write to, or -o - for standard output";

/// The directory that the file is in.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The error, and what in the path stands in the way.
fn reason(path: &Path, error: &io::Error) -> String {
    let mut parents = path.ancestors().skip(1);
    match parents.find(|parent| fs::metadata(parent).is_ok_and(|meta| !meta.is_dir())) {
        Some(file) => format!("{} is no directory: {error}", file.display()),
        None => error.to_string(),
    }
}

/// Puts a new file in the place of the old one in one step.
fn replace(path: &Path, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    let Some(unnamed) = unnamed_in(directory) else {
        let temporary = temporary_in(directory, create)?;
        fill(temporary.as_file(), permissions, bytes)?;
        return temporary.persist(path).map(drop).map_err(|e| e.error);
    };
    fill(&unnamed, permissions, bytes)?;
    // A link cannot replace a file, but a link moved there can.
    let temporary = temporary_in(directory, |name| link(&unnamed, name))?;
    temporary.persist(path).map(drop).map_err(|e| e.error)
}

fn fill(mut file: &File, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// A file without a name, which vanishes with us whatever ends us. Some file
/// systems have none (open(2), O_TMPFILE).
fn unnamed_in(directory: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    let flags = OFlag::O_TMPFILE.bits();
    // The mode is what an ordinary new file is asked for: umask applies.
    options.write(true).custom_flags(flags).mode(0o666);
    options.open(directory).ok()
}

/// Gives an unnamed file a name, the way that needs no capability (open(2)).
fn link(file: &File, name: &Path) -> io::Result<()> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(AT_FDCWD, &*source, AT_FDCWD, name, flags)?)
}

/// With the permissions that an ordinary new file has under the user's umask.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Beside the final place, so that moving it there is atomic.
fn temporary_in<T>(
    directory: &Path,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<NamedTempFile<T>> {
    let mut refused = None;
    let made = tempfile::Builder::new()
        .prefix(".firefinch-")
        .make_in(directory, |path| {
            make(path).inspect_err(|error| refused = error.raw_os_error())
        });
    // Without the temporary name, which is nobody's business.
    made.map_err(|error| refused.map_or(error, io::Error::from_raw_os_error))
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// Between opening and writing nothing is there; then the file is whole,
    /// keeps the old one's permissions, and is alone.
    #[test]
    fn replaces() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out.txt");
        let count = || fs::read_dir(place.path()).unwrap().count();
        let output = Output::open(&path).unwrap();
        assert_eq!(count(), 0);
        output.write(b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Output::open(&link).unwrap().write(b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(count(), 2);
    }

    /// A pipe gets the result, and not what its path leads to by then.
    #[test]
    fn replaced_pipe() {
        let place = tempfile::tempdir().unwrap();
        let [path, moved, other] = ["pipe", "moved", "other"].map(|name| place.path().join(name));
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        fs::write(&other, "kept").unwrap();
        let output = Output::open(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        // Open for both, nobody waits for the other end.
        let mut pipe = OpenOptions::new().read(true).write(true).open(&moved);
        output.write(b"result").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"kept");
        let mut read = [0; 6];
        pipe.as_mut().unwrap().read_exact(&mut read).unwrap();
        assert_eq!(&read, b"result");
    }

    /// What is in the way is said, and never by the name of a temporary file.
    #[test]
    fn refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "kept").unwrap();
        let below = |name: &str| place.path().join(name);
        for (path, word) in [
            (PathBuf::new(), "empty"),
            (place.path().to_owned(), "is a directory"),
            (below("missing/out.svg"), "mkdir -p"),
            (below("missing/"), "no such directory"),
            (below("file/out.svg"), "file is no directory"),
            (below(&"x".repeat(300)), "os error 36"),
            (PathBuf::from("/proc/out.svg"), "in the directory /proc"),
        ] {
            let text = Output::open(&path).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
            assert!(!text.contains(".firefinch-"), "{text}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"kept");
    }
}
