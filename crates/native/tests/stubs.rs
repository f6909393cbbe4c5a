//! Names of the stubs that linkers make to call functions of other objects.
#![cfg(target_arch = "x86_64")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use firefinch_memory::RemoteAddr;
use firefinch_native::arch::x86_64::X86_64;
use firefinch_native::{
    DebugPlaces, ImageAddress, MappedFile, Mapping, Modules, NameSource, Origin, Symbol, Symbolizer,
};
use support::build::Program;
use support::files::Files;

/// What names addresses of a program.
struct Names {
    modules: Modules,
    symbolizer: Symbolizer,
}

impl Names {
    fn of(program: &Path) -> Self {
        let origin = Origin::File(MappedFile {
            path: program.into(),
            device: 0,
            inode: 0,
            build_id: None,
        });
        let mapping = Mapping {
            start: RemoteAddr::new(0x1000),
            end: RemoteAddr::new(0x2000),
            offset: 0,
            origin,
        };
        Self {
            modules: Modules::new(&X86_64, vec![mapping], Arc::new(Files::default())),
            symbolizer: Symbolizer::new(&X86_64, DebugPlaces::default()),
        }
    }

    fn at(&mut self, address: u64) -> Symbol {
        let located = self.modules.locate(RemoteAddr::new(0x1000));
        let module = located.expect("mapped").module;
        let address = Some(ImageAddress::new(address));
        let objects = self.modules.objects();
        self.symbolizer.resolve(module, address, objects)[0].clone()
    }
}

fn output(tool: &str, option: &str, program: &Path) -> String {
    let output = Command::new(tool).arg(option).arg(program).output();
    String::from_utf8(output.expect(tool).stdout).expect("text")
}

fn hexadecimal(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("hexadecimal")
}

/// The instructions in stubs, with the name that objdump has for each.
fn stubs(program: &Path) -> Vec<(u64, String)> {
    let mut name = None;
    let mut found = Vec::new();
    for line in output("objdump", "-d", program).lines() {
        if let Some((_, label)) = line.split_once(" <").filter(|_| line.ends_with(">:")) {
            let label = label.trim_end_matches(">:");
            name = label.ends_with("@plt").then(|| label.to_owned());
        } else if let (Some(name), Some((address, rest))) = (&name, line.trim().split_once(":\t"))
            && !rest.contains("nop")
            && !rest.contains("xchg   %ax,%ax")
        {
            let address = hexadecimal(address);
            found.push((address, name.clone()));
        }
    }
    found
}

/// At each instruction of its stubs a program is in the function that objdump reads from the relocations, however it was linked, stripped or not.
#[test]
fn named_as_objdump_does() {
    let linked: [&[&str]; 6] = [
        &["-Wl,-z,lazy", "-fcf-protection=none"],
        &["-Wl,-z,now", "-fcf-protection=none"],
        &["-Wl,-z,lazy", "-Wl,-z,ibtplt", "-fcf-protection"],
        &["-Wl,-z,now", "-Wl,-z,ibtplt", "-fcf-protection", "-s"],
        &["-no-pie", "-Wl,-z,lazy", "-s"],
        // A function that is called and whose address is taken.
        &["-Wl,-z,lazy", "-DTAKE"],
    ];
    for flags in linked {
        let program = Program::build("stubs.c", &[&["-O2"], flags].concat());
        let mut names = Names::of(&program.path);
        let stubs = stubs(&program.path);
        for function in ["getppid@plt", "getenv@plt"] {
            assert!(stubs.iter().any(|(_, name)| name == function), "{flags:?}");
        }
        for (address, expected) in stubs {
            let symbol = names.at(address);
            let found = (&*symbol.name, symbol.source);
            let expected = (&*expected, NameSource::DynamicSymbols);
            assert_eq!(found, expected, "{flags:?} {address:#x}");
        }
    }
}

/// A stub for a function that picks one of its variants when the program starts has that function's name.
#[test]
fn of_functions_with_variants() {
    let program = Program::build("stubs.c", &["-O2", "-static"]);
    let table = output("nm", "-p", &program.path);
    let functions = table.lines().filter_map(|line| {
        let (address, name) = line.split_once(" i ")?;
        Some((u64::from_str_radix(address, 16).ok()?, name))
    });
    let mut by_address: HashMap<u64, Vec<&str>> = HashMap::new();
    functions.for_each(|(address, name)| by_address.entry(address).or_default().push(name));
    let relocations = output("readelf", "-rW", &program.path);
    let resolvers: HashMap<u64, u64> = relocations
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let slot = u64::from_str_radix(words.next()?, 16).ok()?;
            let resolver = u64::from_str_radix(words.nth(2)?, 16).ok()?;
            Some((slot, resolver))
        })
        .collect();
    let mut names = Names::of(&program.path);
    let mut checked = 0;
    for line in output("objdump", "-dj.plt", &program.path).lines() {
        // `  401018: ff 25 ...  jmp *0xa2fe2(%rip)  # 4a4000 <...>`
        let Some((address, slot)) = line.split_once(":\t").and_then(|(address, rest)| {
            let (_, slot) = rest.split_once("# ")?;
            Some((
                hexadecimal(address.trim()),
                hexadecimal(slot.split_once(' ')?.0),
            ))
        }) else {
            continue;
        };
        let name = names.at(address).name;
        let function = name.strip_suffix("@plt").expect("a stub");
        let known = &by_address[&resolvers[&slot]];
        assert!(known.contains(&function), "{address:#x} {name} {known:?}");
        checked += 1;
    }
    assert!(checked > 0);
}
