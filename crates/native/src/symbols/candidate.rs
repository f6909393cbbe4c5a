use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::image::{BuildId, Image, SectionName};

/// Where a file of debug information may lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// An absolute path, from the root below. Partly made of what the target's
    /// files say: it may contain `..`, and any of it may be a link.
    pub path: PathBuf,
    /// Whose root.
    pub root: Root,
    /// How the file shows that it is the right one.
    pub proof: Proof,
}

/// Whose file system a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The target's.
    Target,
    /// Ours, which may be another one.
    Own,
}

/// How a file of debug information is told from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It has this build id.
    BuildId(BuildId),
    /// Its bytes have this CRC-32.
    Crc(u32),
}

/// Where distributions and tools keep files of debug information.
#[derive(Clone, Debug, Default)]
pub struct DebugPlaces {
    /// Directories of debuginfod's client in our own file system.
    pub debuginfod_caches: Vec<PathBuf>,
}

/// Where distributions put them.
const GLOBAL: &str = "/usr/lib/debug";

impl DebugPlaces {
    /// The places that these environment variables of ours stand for:
    /// `DEBUGINFOD_CACHE_PATH`, `XDG_CACHE_HOME`, `HOME` (debuginfod(8) and
    /// `debuginfod_find_debuginfo(3)`; the first that is set and absolute counts).
    pub fn from_environment(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).filter(|path| path.is_absolute());
        let cache = set("DEBUGINFOD_CACHE_PATH")
            .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("debuginfod_client")))
            .or_else(|| set("HOME").map(|path| path.join(".cache/debuginfod_client")));
        Self {
            debuginfod_caches: cache.into_iter().collect(),
        }
    }
}

/// The candidates for an object's debug information, best first, in the order
/// that gdb documents ("Debugging Information in Separate Files"): by build id
/// in the target's root, then in ours; by the name that the object gives,
/// beside it, in `.debug` beside it, and in the global directory, likewise in
/// both roots; then what debuginfod has fetched before.
pub(super) fn debug_files(object: &Image, path: &Path, places: &DebugPlaces) -> Vec<Candidate> {
    let mut found = Vec::new();
    if let Some(id) = object.build_id() {
        by_build_id(id, &mut found);
    }
    if let Some((name, crc)) = debuglink(object) {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let below = directory.strip_prefix("/").unwrap_or(directory);
        for root in [Root::Target, Root::Own] {
            for path in [
                directory.join(name),
                directory.join(".debug").join(name),
                Path::new(GLOBAL).join(below).join(name),
            ] {
                let proof = Proof::Crc(crc);
                found.push(Candidate { path, root, proof });
            }
        }
    }
    if let Some(id) = object.build_id() {
        by_debuginfod(id, places, &mut found);
    }
    // A file that names itself would be found where it is.
    found.retain(|c| !(c.root == Root::Target && c.path == path));
    found
}

/// The candidates for the file that holds what `dwz` found common to several
/// files of debug information, of which `path` is one.
pub(super) fn supplements(
    debug: &Image,
    path: &Path,
    root: Root,
    places: &DebugPlaces,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    let Some((name, id)) = debugaltlink(debug) else {
        return found;
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    found.push(Candidate {
        // Joining an absolute path gives that path.
        path: directory.join(name),
        root,
        proof: Proof::BuildId(id.clone()),
    });
    by_build_id(&id, &mut found);
    by_debuginfod(&id, places, &mut found);
    found
}

fn by_build_id(id: &BuildId, found: &mut Vec<Candidate>) {
    let hex = id.to_string();
    let (first, rest) = hex.split_at(2);
    for root in [Root::Target, Root::Own] {
        found.push(Candidate {
            path: Path::new(GLOBAL).join(format!(".build-id/{first}/{rest}.debug")),
            root,
            proof: Proof::BuildId(id.clone()),
        });
    }
}

fn by_debuginfod(id: &BuildId, places: &DebugPlaces, found: &mut Vec<Candidate>) {
    for cache in &places.debuginfod_caches {
        found.push(Candidate {
            path: cache.join(id.to_string()).join("debuginfo"),
            root: Root::Own,
            proof: Proof::BuildId(id.clone()),
        });
    }
}

/// `.gnu_debuglink`: a file name, padded to four bytes, and a CRC-32.
fn debuglink(object: &Image) -> Option<(&Path, u32)> {
    let section = object.section(SectionName::GnuDebuglink)?;
    let bytes = section.data()?;
    let (name, _) = terminated(bytes)?;
    // A name and not a path: nothing else is ever written, nor looked up.
    if name.contains(&b'/') || name == b"." || name == b".." {
        return None;
    }
    let crc = bytes.get((name.len() + 1).next_multiple_of(4)..)?;
    let crc = u32::from_le_bytes(*crc.first_chunk()?);
    Some((Path::new(OsStr::from_bytes(name)), crc))
}

/// `.gnu_debugaltlink`: a path and a build id.
fn debugaltlink(debug: &Image) -> Option<(&Path, BuildId)> {
    let section = debug.section(SectionName::GnuDebugaltlink)?;
    let (name, id) = terminated(section.data()?)?;
    Some((Path::new(OsStr::from_bytes(name)), BuildId::new(id)?))
}

/// A text of a path's length at most, and what follows the zero after it.
fn terminated(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = bytes.get(..4096).unwrap_or(bytes);
    let end = head.iter().position(|byte| *byte == 0)?;
    let text = bytes.get(..end).filter(|text| !text.is_empty())?;
    Some((text, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first of debuginfod's variables that is an absolute path decides.
    #[test]
    fn debuginfod_variables() {
        let places = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(n, _)| *n == name);
            let places = DebugPlaces::from_environment(|n| find(n).map(|(_, v)| PathBuf::from(v)));
            places.debuginfod_caches
        };
        assert_eq!(places(&[]), Vec::<PathBuf>::new());
        assert_eq!(places(&[("HOME", "")]), Vec::<PathBuf>::new());
        let home = ("HOME", "/home/a");
        assert_eq!(
            places(&[home]),
            [Path::new("/home/a/.cache/debuginfod_client")]
        );
        let xdg = ("XDG_CACHE_HOME", "/c");
        assert_eq!(places(&[home, xdg]), [Path::new("/c/debuginfod_client")]);
        let own = ("DEBUGINFOD_CACHE_PATH", "/d");
        assert_eq!(places(&[home, xdg, own]), [Path::new("/d")]);
    }
}
