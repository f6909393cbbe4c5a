//! Files seen through the target's root.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs};

use crate::walk::{find_below, is_known_below};
use crate::{AccessError, Module, Process};

impl Process {
    /// Opens a regular file by its path in the target's root. No symbolic
    /// link leads out of that root, and nothing blocks: a FIFO or a device is
    /// refused.
    ///
    /// # Errors
    /// Those of `open`; `InvalidInput` for anything but a regular file.
    pub fn open_in_root(&self, path: impl AsRef<Path>) -> io::Result<File> {
        reopen(&find_regular(&self.root()?, path.as_ref())?)
    }

    /// Whether the path leads to something in the target's root. It is not opened.
    pub fn exists_in_root(&self, path: impl AsRef<Path>) -> bool {
        let root = self.root();
        root.and_then(|root| find_below(&root, path.as_ref()))
            .is_ok()
    }

    /// The same, if the kernel knows it without asking a disk or a server: so it
    /// cannot last, while others may never answer. `None` if it does not, and
    /// before Linux 5.12.
    pub fn is_known_in_root(&self, path: impl AsRef<Path>) -> Option<bool> {
        is_known_below(&self.root().ok()?, path.as_ref())
    }

    /// The path of the target's root, as the kernel shows it to us: `/` unless
    /// it was changed by chroot. In another mount namespace the path is its own.
    ///
    /// # Errors
    /// [`AccessError`] if not permitted or gone.
    pub fn root_path(&self) -> Result<PathBuf, AccessError> {
        self.read_link("root")
    }

    /// A handle on the target's root directory.
    fn root(&self) -> io::Result<File> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let name = format!("task/{}/root", self.image_task());
        self.dir().open_flags(&name, flags)
    }

    /// Opens the file behind a module: the very file that is mapped where it
    /// can still be reached, whatever has become of its path.
    ///
    /// In order: the path in the target's root, and in ours (a chroot's files
    /// are shown with the path from our root), if it is still the same inode;
    /// `/proc/PID/exe` for the executable; `map_files`, which needs
    /// CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. On overlayfs, where inode
    /// numbers may differ, a file at the path is taken as it is if nothing
    /// better is found: compare build ids.
    ///
    /// # Errors
    /// `NotFound` if the file cannot be reached in any of these ways.
    pub fn open_module(&self, module: &Module) -> io::Result<File> {
        let mut on_overlay = None;
        for (in_target, file) in self.files_at_path(module) {
            match file.metadata() {
                Ok(metadata) if is_same_file(&metadata, module) => return reopen(&file),
                _ if in_target && !module.deleted && on_overlay.is_none() && is_overlay(&file) => {
                    on_overlay = Some(file);
                }
                _ => {}
            }
        }
        if module.is_exe {
            let name = format!("task/{}/exe", self.image_task());
            let file = self.dir().open_flags(&name, OFlag::O_PATH);
            if let Ok(file) = file.and_then(regular).and_then(|f| reopen(&f)) {
                return Ok(file);
            }
        }
        for mapping in &module.mappings {
            let (start, end) = (mapping.start.get(), mapping.end.get());
            let name = format!("map_files/{start:x}-{end:x}");
            let file = self.dir().open_flags(&name, OFlag::O_PATH);
            if let Ok(file) = file.and_then(regular).and_then(|f| reopen(&f)) {
                return Ok(file);
            }
        }
        if let Some(file) = on_overlay {
            return reopen(&file);
        }
        let path = module.path.display();
        let message = format!("the file mapped as {path} is deleted or replaced");
        Err(io::Error::new(io::ErrorKind::NotFound, message))
    }

    /// The regular files that the module's path may mean, best guess first,
    /// and whether each was found in the target's root and not in ours.
    fn files_at_path(&self, module: &Module) -> Vec<(bool, File)> {
        let mut paths = vec![module.path.to_path_buf()];
        if module.deleted {
            // A file may really be called `x (deleted)`.
            let mut name = OsString::from(&*module.path);
            name.push(" (deleted)");
            paths.insert(0, name.into());
        }
        let text = module.path.as_os_str().as_bytes();
        if text.contains(&b'\n') {
            // Or have a name with the four characters that `maps` writes for a newline.
            let escaped = text.split(|b| *b == b'\n').collect::<Vec<_>>();
            let escaped = escaped.join(&b"\\012"[..]);
            paths.push(OsString::from_vec(escaped).into());
        }
        let mut files = Vec::new();
        for (in_target, root) in [(true, self.root()), (false, File::open("/"))] {
            let Ok(root) = root else { continue };
            let found = paths.iter().filter_map(|p| find_regular(&root, p).ok());
            files.extend(found.map(|file| (in_target, file)));
        }
        files
    }
}

/// Opens a regular file of our own file system for reading. Nothing blocks: a
/// FIFO or a device is refused, which matters where others chose the path.
///
/// # Errors
/// Those of `open`; `InvalidInput` for anything but a regular file.
pub fn open_regular(path: impl AsRef<Path>) -> io::Result<File> {
    let mut options = File::options();
    let options = options.read(true).custom_flags(OFlag::O_PATH.bits());
    reopen(&regular(options.open(path)?)?)
}

/// A handle on a regular file below a root; see [`reopen`].
fn find_regular(root: &File, path: &Path) -> io::Result<File> {
    regular(find_below(root, path)?)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "no regular file",
    ))
}

/// Opens for reading what an O_PATH handle stands for. Only then is the file
/// really opened: to open a FIFO or a device, even without blocking, would be
/// noticed on its other side.
fn reopen(handle: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// The inode has to do: `maps` and `stat` show different devices on btrfs.
/// A wrong match would need the same inode number at the same path.
fn is_same_file(metadata: &Metadata, module: &Module) -> bool {
    metadata.ino() == module.inode
}

fn is_overlay(file: &File) -> bool {
    fstatfs(file).is_ok_and(|s| s.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}
