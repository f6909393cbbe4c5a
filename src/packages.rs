use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use firefinch_process::Process;

/// What installs the debug symbols of a file, in the words of the target's
/// distribution; `None` if it is not known to have them.
pub(crate) fn debug_package(
    process: &Process,
    file: &Path,
    build_id: Option<&str>,
) -> Option<String> {
    let family = Family::of(&os_release(process)?)?;
    match family {
        // Their database is asked only where it is ours: what it says is an
        // advice for people who can install something there.
        Family::Debian if is_our_root(process) => {
            let package = owner(Path::new(DPKG), file)?;
            Some(format!("apt install {}", symbols_of(&package)))
        }
        Family::Debian => None,
        Family::Fedora => {
            let (first, rest) = build_id?.split_at_checked(2)?;
            let path = format!("/usr/lib/debug/.build-id/{first}/{rest}.debug");
            Some(format!("dnf --enablerepo='*debug*' install {path}"))
        }
    }
}

/// Distributions that do it the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// Packages `NAME-dbgsym` in an archive of their own.
    Debian,
    /// Packages that provide the path of each debug file.
    Fedora,
}

/// The longest `os-release` that is read; they have some 500 bytes.
const MAX_OS_RELEASE: u64 = 64 << 10;

/// For each package a file `PACKAGE.list` or `PACKAGE:ARCHITECTURE.list`, with
/// a path on each line.
const DPKG: &str = "/var/lib/dpkg/info";

/// Packages looked through; a desktop has some thousands.
const MAX_PACKAGES: usize = 20_000;

impl Family {
    /// By the fields ID and ID_LIKE (os-release(5)).
    fn of(os_release: &str) -> Option<Self> {
        let fields = os_release.lines().filter_map(|line| line.split_once('='));
        let names = fields.filter(|(key, _)| matches!(*key, "ID" | "ID_LIKE"));
        let mut names = names.flat_map(|(_, value)| value.trim_matches('"').split(' '));
        names.find_map(|name| match name {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" => Some(Self::Fedora),
            _ => None,
        })
    }
}

fn os_release(process: &Process) -> Option<String> {
    let file = process.open_in_root("/etc/os-release").ok()?;
    let mut text = String::new();
    file.take(MAX_OS_RELEASE).read_to_string(&mut text).ok()?;
    Some(text)
}

fn is_our_root(process: &Process) -> bool {
    let root = |path: PathBuf| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let theirs = root(PathBuf::from(format!("/proc/{}/root/", process.pid())));
    theirs.is_some() && theirs == root(PathBuf::from("/"))
}

/// The package that has installed a file.
fn owner(database: &Path, file: &Path) -> Option<String> {
    // What the kernel shows as /usr/lib may have been installed as /lib.
    let file = file.as_os_str().as_bytes();
    let paths = [Some(file), file.strip_prefix(b"/usr")];
    let lists = fs::read_dir(database).ok()?.flatten().take(MAX_PACKAGES);
    let mut lists = lists.map(|entry| entry.path());
    let list = lists.find(|list| {
        let lines = File::open(list).map(|list| BufReader::new(list).split(b'\n'));
        let has = |line: Vec<u8>| paths.contains(&Some(&line[..]));
        list.extension().is_some_and(|ending| ending == "list")
            && lines.is_ok_and(|lines| lines.map_while(Result::ok).any(has))
    });
    let list = list?;
    let name = list.file_stem()?.to_str()?;
    Some(name.split(':').next().unwrap_or(name).to_owned())
}

/// The package with the debug symbols of a package: those of the C library, and
/// one for all packages of a Python version, are older than the rule.
fn symbols_of(package: &str) -> String {
    if package == "libc6" {
        return "libc6-dbg".to_owned();
    }
    let python = package.strip_prefix("lib").unwrap_or(package);
    let python = python.split('-').next().unwrap_or_default();
    match python.strip_prefix("python3.") {
        Some(_) => format!("{python}-dbg"),
        None => format!("{package}-dbgsym"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distributions are known by themselves or by what they are like.
    #[test]
    fn families() {
        for (text, family) in [
            ("PRETTY_NAME=\"Debian\"\nID=debian\n", Some(Family::Debian)),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                Some(Family::Debian),
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                Some(Family::Fedora),
            ),
            ("ID=alpine\n", None),
            ("NAME=debian\n", None),
            ("", None),
        ] {
            assert_eq!(Family::of(text), family, "{text}");
        }
    }

    /// A file's package is found by its path, also where that has been merged into /usr, and only by all of it.
    #[test]
    fn owners() {
        let database = tempfile::tempdir().unwrap();
        let list = |name: &str, text: &str| fs::write(database.path().join(name), text).unwrap();
        list("libz1:amd64.list", "/.\n/usr/lib/libz.so.1\n");
        list("libc6:amd64.list", "/.\n/lib/libc.so.6\n/lib");
        list("other.md5sums", "/usr/lib/other.so\n");
        for (file, package) in [
            ("/usr/lib/libz.so.1", Some("libz1")),
            ("/usr/lib/libc.so.6", Some("libc6")),
            ("/usr/lib/libz.so", None),
            ("/usr/lib/other.so", None),
        ] {
            assert_eq!(owner(database.path(), Path::new(file)).as_deref(), package);
        }
        for (package, symbols) in [
            ("libz1", "libz1-dbgsym"),
            ("libc6", "libc6-dbg"),
            ("python3.11-minimal", "python3.11-dbg"),
            ("libpython3.11-stdlib", "python3.11-dbg"),
            ("python3-numpy", "python3-numpy-dbgsym"),
        ] {
            assert_eq!(symbols_of(package), symbols);
        }
    }
}
