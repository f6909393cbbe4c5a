//! The files of a process, as it sees them and as they are mapped.

mod common;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use common::{TARGET, Target, copy_program, may_act_as_root};
use firefinch_process::{Backing, Module, Process};

fn content(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("readable");
    bytes
}

/// A file with a page of content, so that it can be mapped.
fn page(path: &Path, byte: u8) {
    fs::write(path, [byte; 4096]).expect("written");
}

fn map(target: &mut Target, path: &Path) {
    let bytes = path.as_os_str().as_bytes();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    target.order(&format!("map {hex}"));
}

/// The mapped file with this inode among those below `dir`.
fn module(process: &Process, dir: &Path, inode: u64) -> Module {
    let mut modules = process.modules().expect("permitted").into_iter();
    let found = modules.find(|m| m.inode == inode && m.path.starts_with(dir));
    found.expect("mapped")
}

/// The maps of a real program have its executable, its heap, its stack and the kernel's page, in order and without overlaps, and its modules are what they are grouped from.
#[test]
fn maps_of_a_program() {
    let target = Target::start();
    let process = target.process();
    let maps = process.maps().unwrap();
    assert!(maps.windows(2).all(|w| w[0].end <= w[1].start));
    for backing in [Backing::Heap, Backing::Stack, Backing::Vdso] {
        assert_eq!(maps.iter().filter(|m| m.backing == backing).count(), 1);
    }
    let pattern = maps.iter().find(|m| m.contains(target.pattern)).unwrap();
    assert_eq!(pattern.path(), Some(Path::new(TARGET)));
    let modules = process.modules().unwrap();
    let exe: Vec<&Module> = modules.iter().filter(|m| m.is_exe).collect();
    assert_eq!(exe.len(), 1);
    assert_eq!(*exe[0].path, *Path::new(TARGET));
    assert!(!exe[0].deleted && exe[0].is_executable());
    assert_eq!(exe[0].inode, fs::metadata(TARGET).unwrap().ino());
    assert_eq!(
        exe[0].mappings.iter().find(|m| m.contains(target.pattern)),
        Some(pattern)
    );
    let grouped: usize = modules.iter().map(|m| m.mappings.len()).sum();
    assert_eq!(grouped, maps.iter().filter(|m| m.path().is_some()).count());
    for module in &modules {
        assert!(module.mappings.windows(2).all(|w| w[0].end <= w[1].start));
        let file = process.open_module(module).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), module.inode);
    }
}

/// Files with the worst names a file system takes are found again as modules and opened, as they are, deleted, and replaced by others.
#[test]
fn hostile_names() {
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    let mut target = Target::start();
    let process = target.process();
    let names: [&[u8]; 11] = [
        b"plain",
        b"two  words ",
        b" (deleted)",
        b"lib.so (deleted)",
        b"line\nbreak\n",
        b"back\\slash",
        b"back\\012slash",
        b"[heap]",
        b"1000-2000 r-xp 00000000 08:01 7 x",
        b"\xff\xfe\x80",
        b"\xf0\x9f\x90\xa6 \r\t",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let byte = u8::try_from(index).unwrap() + 1;
        let path = dir.path().join(OsStr::from_bytes(name));
        page(&path, byte);
        let inode = fs::metadata(&path).unwrap().ino();
        map(&mut target, &path);
        let open = || {
            process
                .open_module(&module(&process, &root, inode))
                .map(content)
        };
        assert_eq!(open().unwrap(), [byte; 4096], "{name:?}");
        let renamed = dir.path().join("renamed");
        fs::rename(&path, &renamed).unwrap();
        assert_eq!(open().unwrap(), [byte; 4096], "{name:?} renamed");
        // Another file at its path is not taken for it, even if also mapped.
        fs::remove_file(&renamed).unwrap();
        page(&path, 0xee);
        let replaced = module(&process, &root, inode);
        assert!(replaced.deleted, "{name:?}");
        match open() {
            Ok(bytes) => assert_eq!(bytes, [byte; 4096], "{name:?} replaced"),
            // Without the permission for map_files it cannot be had at all.
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
}

/// A deleted executable is still opened, and is the same file.
#[test]
fn deleted_executable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    copy_program(Path::new(TARGET), &path);
    let target = Target::run(&mut Command::new(&path));
    let process = target.process();
    fs::remove_file(&path).unwrap();
    let exe = process.exe().unwrap();
    assert_eq!((exe.path.as_path(), exe.deleted), (path.as_path(), true));
    let modules = process.modules().unwrap();
    let module = modules.iter().find(|m| m.is_exe).unwrap();
    assert!(module.deleted);
    let file = process.open_module(module).unwrap();
    assert_eq!(content(file), fs::read(TARGET).unwrap());
    // Replaced, as an upgrade does it: still the old one.
    page(&path, 1);
    let file = process.open_module(module).unwrap();
    assert_eq!(file.metadata().unwrap().ino(), module.inode);
}

/// A program in a chroot: its files are found by the paths it sees and by those we see, and no link leads out.
#[test]
fn chroot() {
    if !may_act_as_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap();
    let program = root.join("program");
    copy_program(Path::new(TARGET), &program);
    // The libraries it needs, at the paths where it looks for them.
    for module in Target::start().process().modules().unwrap() {
        if !module.is_exe && module.is_executable() {
            let inside = root.join(module.path.strip_prefix("/").unwrap());
            fs::create_dir_all(inside.parent().unwrap()).unwrap();
            copy_program(&module.path, &inside);
        }
    }
    let loader = loader_path();
    let inside = root.join(loader.strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    copy_program(&loader, &inside);
    page(&root.join("secret"), 7);
    let outside = tempfile::tempdir().unwrap();
    let outside_file = outside.path().join("outside");
    page(&outside_file, 9);
    symlink("/secret", root.join("absolute")).unwrap();
    symlink(&outside_file, root.join("escape")).unwrap();
    let mut dots = OsString::from("../../../../../../../..");
    dots.push(&outside_file);
    symlink(&dots, root.join("dots")).unwrap();
    symlink("loop", root.join("loop")).unwrap();

    let mut command = Command::new("chroot");
    command.arg(&root).arg("/program");
    command.env("LD_LIBRARY_PATH", library_path(&root));
    let target = Target::run(&mut command);
    let process = target.process();
    assert_eq!(content(process.open_in_root("/secret").unwrap()), [7; 4096]);
    assert_eq!(content(process.open_in_root("secret").unwrap()), [7; 4096]);
    assert_eq!(
        content(process.open_in_root("/absolute").unwrap()),
        [7; 4096]
    );
    assert!(process.exists_in_root("/program"));
    assert_ne!(process.is_known_in_root("/program"), Some(false));
    for escape in ["/escape", "/dots", "/loop", "/missing", "/../secret/x"] {
        assert!(process.open_in_root(escape).is_err(), "{escape}");
        assert!(!process.exists_in_root(escape), "{escape}");
        assert_ne!(process.is_known_in_root(escape), Some(true), "{escape}");
    }
    // What is mapped has the path from our root, and is found nevertheless.
    let modules = process.modules().unwrap();
    let exe = modules.iter().find(|m| m.is_exe).unwrap();
    assert_eq!(*exe.path, *program);
    for module in &modules {
        let file = process.open_module(module).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), module.inode);
    }
}

/// The dynamic loader that the target names: its library by that kind of name.
fn loader_path() -> std::path::PathBuf {
    let loader = match std::env::consts::ARCH {
        "aarch64" => "/lib/ld-linux-aarch64.so.1",
        _ => "/lib64/ld-linux-x86-64.so.2",
    };
    loader.into()
}

/// The directories below `root` that hold libraries, as seen from inside.
fn library_path(root: &Path) -> OsString {
    let mut found = OsString::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).expect("ours") {
            let path = entry.expect("ours").path();
            if path.is_dir() {
                let inside = path.strip_prefix(root).expect("below");
                found.push("/");
                found.push(inside);
                found.push(":");
                left.push(path);
            }
        }
    }
    found
}

/// What is no regular file is refused at once, and nobody at its other end notices.
#[test]
fn only_regular_files() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&fifo, mode).unwrap();
    let target = Target::start();
    let process = target.process();
    for path in [fifo.as_path(), dir.path(), Path::new("/dev/null")] {
        let error = process.open_in_root(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
        assert!(process.exists_in_root(path));
    }
    // A link of /proc leads anywhere it likes, so it is not followed.
    let magic = format!("/proc/{}/exe", process.pid());
    assert!(process.open_in_root(magic).is_err());
}

/// In a mount namespace of its own a process's files are those it sees, not ours at the same path.
#[test]
fn another_mount_namespace() {
    if !may_act_as_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let script = "mount -t tmpfs none \"$1\" && echo inside > \"$1/file\" && \
                  cp \"$2\" \"$1/program\" && exec \"$1/program\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-c", script, "sh"]);
    let mut target = Target::run(command.arg(&inner).arg(TARGET));
    page(&inner.join("file"), 1);
    page(&inner.join("program"), 2);
    let process = target.process();
    let file = process.open_in_root(inner.join("file")).unwrap();
    assert_eq!(content(file), b"inside\n");
    let modules = process.modules().unwrap();
    let exe = modules.iter().find(|m| m.is_exe).unwrap();
    assert_eq!(*exe.path, *inner.join("program"));
    let file = process.open_module(exe).unwrap();
    assert_eq!(content(file), fs::read(TARGET).unwrap());
    target.order("spin 1");
}
