//! Reading the memory of a real process.

mod common;

use common::{Target, until};
use firefinch_memory::{Memory, Range, ReadErrorKind, RemoteAddr};
use firefinch_process::{Method, ProcessMemory};

fn word(index: u64) -> u64 {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What is read, whole or in scattered ranges, is what the target has there, and both kernel interfaces are used.
#[test]
fn reads_agree_with_the_target() {
    let target = Target::start();
    let memory = target.process().memory().unwrap();
    assert_eq!(memory.method(), Method::Mem);
    assert_eq!(memory.scattered_method(), Method::ProcessVmReadv);
    let mut bytes = vec![0; 4096 * 8];
    memory.read(target.pattern, &mut bytes).unwrap();
    for (index, chunk) in bytes.chunks(8).enumerate() {
        assert_eq!(chunk, word(index as u64).to_le_bytes());
    }
    assert_eq!(memory.cost().bytes, 4096 * 8);
    // 3,000 ranges take three calls, and each gets its own word.
    let before = memory.cost().calls;
    let mut words = vec![[0; 8]; 3000];
    let mut ranges: Vec<Range<'_>> = (words.iter_mut().enumerate())
        .map(|(i, buf)| Range {
            addr: target.pattern.offset(i as u64 * 8),
            buf,
        })
        .collect();
    assert_eq!(memory.read_scattered(&mut ranges), 3000);
    assert_eq!(memory.cost().calls - before, 3);
    for (index, got) in words.iter().enumerate() {
        assert_eq!(u64::from_le_bytes(*got), word(index as u64));
    }
}

/// A range that runs into a hole fails as a whole; ranges before the hole are counted, none after it.
#[test]
fn holes_are_errors() {
    let target = Target::start();
    let process = target.process();
    let memory = process.memory().unwrap();
    let maps = process.maps().unwrap();
    let hole = maps
        .windows(2)
        .find(|w| w[0].end < w[1].start && w[0].perms.write)
        .expect("a process has holes");
    let end = hole[0].end;
    let mut buf = [0; 64];
    let before = RemoteAddr::new(end.get() - 32);
    let error = memory.read(before, &mut buf).unwrap_err();
    assert_eq!(error.kind, ReadErrorKind::Unmapped);
    assert_eq!((error.addr, error.len), (before, 64));
    memory.read(before, &mut buf[..32]).unwrap();
    let (mut a, mut b, mut c) = ([0; 8], [0; 64], [0; 8]);
    let mut ranges = [
        Range {
            addr: target.pattern,
            buf: &mut a,
        },
        Range {
            addr: before,
            buf: &mut b,
        },
        Range {
            addr: target.pattern,
            buf: &mut c,
        },
    ];
    assert_eq!(memory.read_scattered(&mut ranges), 1);
    for addr in [
        RemoteAddr::NULL,
        RemoteAddr::new(u64::MAX - 3),
        RemoteAddr::new(1 << 63),
    ] {
        let error = memory.read(addr, &mut buf).unwrap_err();
        assert_eq!(error.kind, ReadErrorKind::Unmapped, "{addr}");
    }
}

/// After an exec the old memory is gone while the process lives, and a new handle reads the new program.
#[test]
fn exec_ends_the_image_but_not_the_process() {
    let mut target = Target::start();
    let process = target.process();
    let memory = process.memory().unwrap();
    assert!(!memory.image_gone());
    target.send("exec /bin/cat");
    until("exec", || memory.image_gone().then_some(()));
    let error = memory.read(target.pattern, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind, ReadErrorKind::Gone);
    assert!(process.is_alive());
    let again = process.memory().unwrap();
    assert!(!again.image_gone());
    let exe = process.exe().unwrap().path;
    assert!(exe.ends_with("cat"), "{exe:?}");
}

/// After an exit both the memory and the process are gone.
#[test]
fn exit_ends_both() {
    let mut target = Target::start();
    let process = target.process();
    let memory = process.memory().unwrap();
    target.child.kill().unwrap();
    assert!(process.wait_exit(std::time::Duration::from_secs(60)));
    assert!(!process.is_alive());
    let error = memory.read(target.pattern, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind, ReadErrorKind::Gone);
    assert!(memory.image_gone());
    assert!(process.memory().unwrap_err().is_gone());
}

/// A program whose first thread has ended is read through the threads that are left.
#[test]
fn a_leaderless_process_is_still_read() {
    let mut target = Target::start();
    target.order("spin 2");
    let process = target.process();
    target.send("leave");
    let leader = process.pid().leader();
    until("the first thread ends", || {
        let stat = std::fs::read_to_string(format!("/proc/{leader}/stat")).unwrap();
        stat.contains(") Z ").then_some(())
    });
    assert!(process.is_alive());
    let again = target.process();
    for process in [process, again] {
        let memory = process.memory().unwrap();
        assert_eq!(memory.read_u64(target.pattern.offset(80)), Ok(word(10)));
        assert_eq!(process.threads().unwrap().len(), 3);
        assert!(process.exe().is_ok());
        assert!(process.open_in_root("/etc/passwd").is_ok());
    }
}

/// A handle on memory can be taken to another thread.
#[test]
fn memory_is_send() {
    fn send<T: Send>() {}
    send::<ProcessMemory>();
}
