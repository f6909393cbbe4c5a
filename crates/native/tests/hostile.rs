//! Damaged object files, registers and stacks: any answer, but an answer.

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;

use firefinch_memory::{RemoteAddr, Snapshot};
use firefinch_native::arch::{aarch64, x86_64};
use firefinch_native::{
    Architecture, CodeAddress, DebugPlaces, InstructionPointer, Limits, MappedFile, Mapping,
    Modules, ObjectBytes, ObjectSource, Objects, Origin, Register, Registers, ReturnAddress,
    StackCopy, Symbolizer, Unwinder,
};
use nix::sys::resource::{Resource, setrlimit};
use object::{Object, ObjectSection};
use support::build::Program;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

struct OneFile(Vec<u8>);

impl Objects for OneFile {
    fn object(&self, _: &Origin) -> Option<ObjectBytes> {
        Some(match self.0.len() % 2 {
            0 => ObjectBytes::new(self.0.clone()),
            // A file that is shorter than it was.
            _ => ObjectBytes::read_from(self.0.len() as u64 + 1, Read(self.0.clone())),
        })
    }
}

struct Read(Vec<u8>);

impl ObjectSource for Read {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let start = usize::try_from(offset).map_err(|_| gone())?;
        let part = self.0.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(part.ok_or_else(gone)?);
        Ok(())
    }
}

/// A file to damage, and where.
struct Victim {
    arch: &'static Architecture,
    bytes: Vec<u8>,
    /// The parts that are read, small ones as likely as large ones.
    parts: Vec<std::ops::Range<usize>>,
    /// File offset and length of the code.
    code: (u64, u64),
}

impl Victim {
    fn new(arch: &'static Architecture, bytes: Vec<u8>) -> Self {
        let elf = object::File::parse(&bytes[..]).expect("sound");
        let mut parts = vec![0..64, 64..64 + 56 * 8];
        let mut code = (0, 0);
        for section in elf.sections() {
            let name = section.name().expect("named");
            let Some((offset, size)) = section.file_range().filter(|(_, size)| *size > 0) else {
                continue;
            };
            if name == ".text" {
                code = (offset, size);
            }
            let read = [
                ".eh_frame",
                ".debug_",
                ".symtab",
                ".dynsym",
                ".note",
                ".gnu_debug",
            ];
            if read.iter().any(|start| name.starts_with(start)) {
                let start = usize::try_from(offset).expect("small");
                parts.push(start..start + usize::try_from(size).expect("small"));
            }
            // Twice as likely as others.
            if name.starts_with(".eh_frame") || name == ".debug_frame" {
                parts.extend(parts.last().cloned());
            }
        }
        // The section headers, after everything else.
        parts.push(bytes.len() - bytes.len().min(64 * 30)..bytes.len());
        Self {
            arch,
            bytes,
            parts,
            code,
        }
    }

    fn damaged(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for _ in 0..=random.below(6) {
            let part = &self.parts[random.below(self.parts.len())];
            let at = part.start + random.below(part.len());
            let extreme = [0, 1, 0x7f, 0x80, 0xff];
            let value = random.next();
            match random.below(6) {
                0 => bytes[at] = random.pick(&extreme),
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes[at] = u8::try_from(value & 0xff).expect("a byte"),
                3 => {
                    // A length or an offset.
                    let extreme = [0, 1, u64::MAX, u64::MAX >> 1, 1 << 31, 0xffff_fff0, value];
                    let word = random.pick(&extreme).to_le_bytes();
                    let width = random.pick(&[2, 4, 8]);
                    let end = (at + width).min(bytes.len());
                    bytes[at..end].copy_from_slice(&word[..end - at]);
                }
                4 => {
                    // Part of one place at another.
                    let from = part.start + random.below(part.len());
                    let len = random.below(64).min(part.end - from.max(at));
                    bytes.copy_within(from..from + len, at);
                }
                _ => {
                    let end = (at + random.below(40)).min(part.end);
                    bytes[at..end].fill(random.pick(&extreme));
                }
            }
        }
        if random.below(20) == 0 {
            bytes.truncate(random.below(self.bytes.len()));
        }
        bytes
    }
}

/// Asks everything of a damaged file.
fn exercise(victim: &Victim, bytes: Vec<u8>, random: &mut Random) {
    const START: u64 = 0x7000_0000_0000;
    let origin = Origin::File(MappedFile {
        path: Path::new("/victim").into(),
        device: 0,
        inode: 0,
        build_id: None,
    });
    let (offset, len) = victim.code;
    let page = offset & !0xfff;
    let mapping = Mapping {
        start: RemoteAddr::new(START),
        end: RemoteAddr::new(START + (offset - page) + len),
        offset: page,
        origin,
    };
    let modules = Modules::new(victim.arch, vec![mapping], Arc::new(OneFile(bytes)));
    let limits = Limits {
        frames: 64,
        outside_reads: 8,
    };
    let mut unwinder = Unwinder::new(modules.clone(), limits);
    let mut symbolizer = Symbolizer::new(victim.arch, DebugPlaces::default());
    let mut frames = Vec::new();
    let code = |random: &mut Random| {
        let into = random.next() % len;
        RemoteAddr::new(START + (offset - page) + into)
    };
    let sp = 0x7fff_0000_0000_u64 + (random.next() & 0xf);
    let words = (0..128_u64).flat_map(|n| {
        let word = match random.below(4) {
            0 | 1 => code(random).get(),
            2 => sp + n * 8 + random.next() % 256,
            _ => random.next(),
        };
        word.to_le_bytes()
    });
    let stack: Vec<u8> = words.collect();
    let mut outside = Snapshot::new();
    outside.insert(RemoteAddr::new(sp + 1024), vec![0x11; 4096]);
    for _ in 0..4 {
        let mut registers = Registers::new();
        for number in 0..32 {
            if random.below(8) != 0 {
                let near = sp + random.next() % 1024;
                registers.set(Register(number), random.pick(&[near, near, u64::MAX, 0]));
            }
        }
        registers.set(victim.stack_pointer(), sp);
        let copy = StackCopy {
            start: RemoteAddr::new(sp),
            bytes: &stack,
        };
        let pc = code(random);
        let ip = InstructionPointer::new(pc);
        let outcome = unwinder.unwind(ip, &registers, copy, &outside, &mut frames);
        assert!((1..=64).contains(&frames.len()));
        assert!(outcome.outside_reads <= 8);
        let asked = ReturnAddress::new(pc)
            .map(CodeAddress::Return)
            .expect("not null");
        for address in [asked.lookup(), code(random)] {
            if let Some(located) = modules.locate(address) {
                let found = symbolizer.resolve(located.module, located.address, modules.objects());
                assert!(!found.is_empty());
                assert!(found.iter().all(|symbol| symbol.name.len() <= 64 << 10));
            }
        }
    }
}

impl Victim {
    fn stack_pointer(&self) -> Register {
        if *self.arch == x86_64::X86_64 {
            x86_64::RSP
        } else {
            aarch64::SP
        }
    }
}

fn recorded(name: &str) -> Vec<u8> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    std::fs::read(captures.join(name)).expect("recorded")
}

/// Whatever is damaged in an object file, unwinding and naming by it end, within their bounds and a bounded amount of memory, and without a panic.
#[test]
fn damaged_files() {
    // What asks for memory by a number in a file would be stopped here.
    let limit = 2 << 30;
    setrlimit(Resource::RLIMIT_AS, limit, limit).expect("lower than before");
    let mut victims = vec![Victim::new(
        &aarch64::AARCH64,
        recorded("aarch64-signed.elf"),
    )];
    if cfg!(target_arch = "x86_64") {
        let build = |flags: &[&str]| std::fs::read(Program::build("names.c", flags).path);
        for flags in [
            &["-O2", "-g"][..],
            &[
                "-O2",
                "-g",
                "-gz=zlib",
                "-fno-asynchronous-unwind-tables",
                "-fno-pie",
            ],
            &["-O2", "-s", "-Wl,--no-eh-frame-hdr"],
        ] {
            let bytes = build(flags).expect("built");
            victims.push(Victim::new(&x86_64::X86_64, bytes));
        }
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for victim in &victims {
        exercise(victim, victim.bytes.clone(), &mut random);
        for _ in 0..8000 {
            let bytes = victim.damaged(&mut random);
            exercise(victim, bytes, &mut random);
        }
    }
}
