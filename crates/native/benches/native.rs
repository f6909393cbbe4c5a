//! What unwinding and naming cost: `cargo bench -p firefinch-native -- PYTHON LIBRARY`,
//! with a Python interpreter to unwind and a library to name addresses of.
#![allow(missing_docs)]

#[cfg(target_arch = "x86_64")]
#[path = "../tests/support/mod.rs"]
mod support;

#[cfg(target_arch = "x86_64")]
fn main() {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    match (words.next(), words.next()) {
        (Some(python), Some(library)) => {
            x86_64::unwinding(&python);
            x86_64::naming(&library);
        }
        _ => println!("nothing measured: say which interpreter and which library"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;
    use std::time::Instant;

    use firefinch_memory::RemoteAddr;
    use firefinch_native::arch::x86_64::X86_64;
    use firefinch_native::{DebugPlaces, MappedFile, Mapping, Modules, Origin, Symbolizer};
    use object::{Object, ObjectSection};

    use super::support::files::Files;
    use super::support::target::Target;

    const DEEP: &str = "
import os, signal
def descend(n):
    return sorted([n], key=lambda m: descend(m - 1) if m else os.kill(os.getpid(), signal.SIGSTOP))
descend(60)
";

    pub(crate) fn unwinding(python: &str) {
        let target = Target::run(Command::new(python).args(["-c", DEEP]));
        let sample = target.sample(target.pid());
        let mut unwinder = target.unwinder();
        let (frames, outcome) = sample.unwind(&mut unwinder, &target.memory);
        let distinct: BTreeSet<_> = frames.iter().map(|f| f.address.addr()).collect();
        println!(
            "{} frames at {} addresses, {} KB of stack: {outcome:?}",
            frames.len(),
            distinct.len(),
            sample.stack.len() / 1024
        );
        let rounds = 2000;
        let begun = Instant::now();
        for _ in 0..rounds {
            sample.unwind(&mut unwinder, &target.memory);
        }
        let warm = begun.elapsed() / rounds;
        println!(
            "known addresses: {:?} a frame",
            warm / u32::try_from(frames.len()).expect("few")
        );
        let begun = Instant::now();
        for _ in 0..rounds {
            let modules = unwinder.modules().clone();
            unwinder.set_modules(modules);
            sample.unwind(&mut unwinder, &target.memory);
        }
        let cold = begun.elapsed() / rounds;
        let modules = unwinder.modules().clone();
        let begun = Instant::now();
        for _ in 0..rounds {
            unwinder.set_modules(modules.clone());
        }
        let clear = begun.elapsed() / rounds;
        let new = cold.saturating_sub(warm).saturating_sub(clear);
        println!(
            "a new address: {:?} more",
            new / u32::try_from(distinct.len()).expect("few")
        );
    }

    pub(crate) fn naming(library: &str) {
        let bytes = std::fs::read(library).expect("the library");
        let elf = object::File::parse(&bytes[..]).expect("an object file");
        let text = elf.section_by_name(".text").expect("code");
        let origin = Origin::File(MappedFile {
            path: Path::new(library).into(),
            device: 0,
            inode: 0,
            build_id: None,
        });
        let files = Arc::new(Files::default());
        let whole = Mapping {
            start: RemoteAddr::new(text.address() & !0xfff),
            end: RemoteAddr::new(text.address() + text.size()),
            offset: text.file_range().expect("bytes").0 & !0xfff,
            origin,
        };
        let modules = Modules::new(&X86_64, vec![whole], files.clone());
        let mut symbolizer = Symbolizer::new(&X86_64, DebugPlaces::default());
        let count = 5000;
        let mut functions = 0;
        let mut first = None;
        let begun = Instant::now();
        for n in 0..count {
            let address = text.address() + text.size() / count * n;
            let located = modules.locate(RemoteAddr::new(address)).expect("mapped");
            let found = symbolizer.resolve(located.module, located.address, &*files);
            functions += found.len();
            first.get_or_insert_with(|| begun.elapsed());
        }
        println!(
            "{count} addresses, {functions} functions: {:?}, the first {first:?}",
            begun.elapsed()
        );
        let begun = Instant::now();
        for n in 0..count {
            let address = text.address() + text.size() / count * n;
            let located = modules.locate(RemoteAddr::new(address)).expect("mapped");
            symbolizer.resolve(located.module, located.address, &*files);
        }
        println!("again: {:?}", begun.elapsed());
    }
}
