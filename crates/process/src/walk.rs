//! Finding a file below a directory that is taken as the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;

/// The kernel follows at most this many links (include/linux/namei.h, MAXSYMLINKS).
const MAX_LINKS: u32 = 40;

/// No path has more components: PATH_MAX is 4,096.
const MAX_COMPONENTS: usize = 2048;

/// An O_PATH handle on whatever the path leads to, where `..` and absolute
/// links stay below `root`.
pub(crate) fn find_below(root: &File, path: &Path) -> io::Result<File> {
    match by_kernel(root, path) {
        // Not before Linux 5.6; and older container runtimes answer EPERM to
        // calls they do not know.
        Err(Errno::ENOSYS | Errno::EPERM) => by_hand(root, path),
        result => Ok(result?),
    }
}

/// Whether there is something, if the kernel has all components of the path in its
/// cache, and need not ask anybody whether they are as they were (fs/namei.c,
/// LOOKUP_CACHED; Linux 5.12).
pub(crate) fn is_known_below(root: &File, path: &Path) -> Option<bool> {
    let cached = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    match by_kernel_how(root, path, cached) {
        Ok(_) => Some(true),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Some(false),
        Err(_) => None,
    }
}

fn by_kernel(root: &File, path: &Path) -> nix::Result<File> {
    by_kernel_how(root, path, ResolveFlag::empty())
}

fn by_kernel_how(root: &File, path: &Path, how: ResolveFlag) -> nix::Result<File> {
    let resolve = how | ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let fd = openat2(root, path, OpenHow::new().flags(flags).resolve(resolve))?;
    Ok(fd.into())
}

/// The same, component by component. Each is opened without following it, and
/// `..` goes back to the handle we came from, so whatever is renamed meanwhile
/// leads nowhere else.
fn by_hand(root: &File, path: &Path) -> io::Result<File> {
    let mut todo: VecDeque<OsString> = components(path.as_os_str());
    let mut trail: Vec<File> = Vec::new();
    let mut links = 0;
    while let Some(component) = todo.pop_front() {
        if component == "." || component == ".." {
            let here = trail.last().map(File::metadata).transpose()?;
            if here.is_some_and(|metadata| !metadata.is_dir()) {
                return Err(Errno::ENOTDIR.into());
            }
            if component == ".." {
                trail.pop();
            }
            continue;
        }
        let at = trail.last().unwrap_or(root);
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found: File = openat(at, component.as_os_str(), flags, Mode::empty())?.into();
        if !found.metadata()?.is_symlink() {
            trail.push(found);
            continue;
        }
        links += 1;
        let target = readlinkat(&found, "")?;
        let mut rest = components(&target);
        if links > MAX_LINKS || rest.len() + todo.len() > MAX_COMPONENTS {
            return Err(Errno::ELOOP.into());
        }
        if target.as_bytes().starts_with(b"/") {
            trail.clear();
        }
        rest.append(&mut todo);
        todo = rest;
    }
    match trail.pop() {
        Some(file) => Ok(file),
        None => root.try_clone(),
    }
}

/// The parts of a path between slashes. One that ends in a slash has to be a
/// directory, which a last `.` demands of it.
fn components(path: &OsStr) -> VecDeque<OsString> {
    let parts = path.as_bytes().split(|b| *b == b'/');
    let parts = parts.filter(|part| !part.is_empty());
    let mut parts: VecDeque<_> = parts.map(|p| OsStr::from_bytes(p).to_owned()).collect();
    if path.as_bytes().ends_with(b"/") {
        parts.push_back(".".into());
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// By hand every path leads to the same file as by the kernel, or nowhere by either.
    #[test]
    fn by_hand_as_by_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("root");
        fs::create_dir_all(base.join("a/b/c")).unwrap();
        fs::write(base.join("a/file"), "inside").unwrap();
        fs::write(base.join("file"), "inside").unwrap();
        fs::write(dir.path().join("file"), "outside").unwrap();
        let links = [
            ("up", ".."),
            ("absolute", "/a/file"),
            ("a/up", "../file"),
            ("a/b/far", "../../../../../../file"),
            ("a/dir", "/a/b/"),
            ("loop", "loop"),
            ("dangling", "/missing"),
            ("through-file", "/file/x"),
            ("slash", "/"),
            ("dots", "././a/./file"),
            ("file-as-dir", "file/"),
        ];
        for (name, target) in links {
            symlink(target, base.join(name)).unwrap();
        }
        symlink(dir.path().join("file"), base.join("escape")).unwrap();
        for index in 0..50 {
            let target = match index {
                0 => "file".to_owned(),
                _ => format!("chain{}", index - 1),
            };
            symlink(target, base.join(format!("chain{index}"))).unwrap();
        }
        let root = File::open(&base).unwrap();
        let paths = [
            "/",
            ".",
            "..",
            "../file",
            "file",
            "/file",
            "file/",
            "file/.",
            "file/..",
            "a/",
            "a/../..",
            "a/b/c/../../file",
            "missing",
            "missing/..",
            "up",
            "up/file",
            "up/up/a/file",
            "absolute",
            "a/up",
            "a/b/far",
            "a/dir/c",
            "a/dir/../file",
            "loop",
            "dangling",
            "through-file",
            "slash/file",
            "slash/../../file",
            "dots",
            "file-as-dir",
            "escape",
            "chain39",
            "chain40",
            "chain49",
            "a//b///c",
            "/../../a",
        ];
        for path in paths {
            let inode = |file: File| file.metadata().unwrap().ino();
            let kernel = by_kernel(&root, Path::new(path)).map(inode);
            let hand = by_hand(&root, Path::new(path)).map(inode);
            match (kernel, hand) {
                (Ok(kernel), Ok(hand)) => assert_eq!(kernel, hand, "{path}"),
                (Err(kernel), Err(hand)) => {
                    assert_eq!(Some(kernel as i32), hand.raw_os_error(), "{path}");
                }
                (kernel, hand) => panic!("{path}: {kernel:?} {hand:?}"),
            }
        }
    }
}
