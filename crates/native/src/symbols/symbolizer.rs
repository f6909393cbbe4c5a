use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::candidate::DebugPlaces;
use super::cython;
use super::cython_sources::CythonSources;
use super::demangle::demangle;
use super::module_symbols::ModuleSymbols;
use super::symbol::{NameSource, Symbol};
use crate::ImageAddress;
use crate::arch::Architecture;
use crate::mapping::Origin;
use crate::module::Module;
use crate::modules::Objects;

/// Names addresses, each once.
#[derive(Debug)]
pub struct Symbolizer {
    arch: &'static Architecture,
    places: DebugPlaces,
    modules: HashMap<Origin, Known>,
    strings: HashSet<Arc<str>>,
    cython: CythonSources,
    /// How many answers there are, and at how many those that nobody has are dropped.
    answers: usize,
    most: usize,
}

/// Answers that are kept whether anybody has them or not; half a large program's code
/// has no more addresses that calls return to.
const MIN_ANSWERS: usize = 1 << 16;

/// Modules that are kept though they are not mapped any more: a program may map one again
/// and again, and it takes long to read one.
const MAX_GONE: usize = 32;

/// What is known of one module.
#[derive(Debug, Default)]
struct Known {
    symbols: Option<ModuleSymbols>,
    answers: HashMap<ImageAddress, Arc<[Symbol]>>,
}

/// What debuggers write behind the name of a function that is called by a stub.
const STUB: &str = "@plt";

/// Where things come from, while one address is named.
struct Asked<'a> {
    module: &'a Module,
    objects: &'a dyn Objects,
    address: ImageAddress,
}

/// The whole name of a function: debug information has only its last part
/// where other objects cannot call it, as in C++ namespaces without a name.
fn qualified(name: String, symbols: &ModuleSymbols, address: ImageAddress) -> String {
    if name.contains("::") {
        return name;
    }
    let Some((_, mangled)) = symbols.by_table(address, None) else {
        return name;
    };
    let whole = demangle(&mangled);
    match whole.strip_suffix(&*name) {
        Some(before) if before.ends_with("::") => whole.into_owned(),
        _ => name,
    }
}

impl Symbolizer {
    /// A symbolizer for objects of one architecture.
    pub fn new(arch: &'static Architecture, places: DebugPlaces) -> Self {
        Self {
            arch,
            places,
            modules: HashMap::new(),
            strings: HashSet::new(),
            cython: CythonSources::default(),
            answers: 0,
            most: MIN_ANSWERS,
        }
    }

    /// The functions at an address of a module, those inlined first, at least
    /// one. Give it [`CodeAddress::lookup`](crate::CodeAddress::lookup)'s, or
    /// a return address may seem to belong to the next line or function.
    pub fn resolve(
        &mut self,
        module: &Module,
        address: Option<ImageAddress>,
        objects: &dyn Objects,
    ) -> Arc<[Symbol]> {
        let Some(address) = address else {
            let name = self.intern(&module.name());
            return Arc::new([Symbol::named(name, NameSource::Nothing)]);
        };
        let known = self.modules.entry(module.origin().clone()).or_default();
        if let Some(answer) = known.answers.get(&address) {
            return Arc::clone(answer);
        }
        let asked = Asked {
            module,
            objects,
            address,
        };
        if self.answers >= self.most || self.strings.len() >= 4 * self.most {
            self.drop_unused();
        }
        let answer = self.look_up(&asked, Self::ask);
        let answer: Arc<[Symbol]> = self.as_written(answer, &asked).into();
        let known = self.modules.entry(module.origin().clone()).or_default();
        known.answers.insert(address, Arc::clone(&answer));
        self.answers += 1;
        answer
    }

    /// Drops answers that nobody has any more, and names that are in none: a program
    /// may go on for long, and load code for as long as it does.
    fn drop_unused(&mut self) {
        self.answers = 0;
        for known in self.modules.values_mut() {
            known
                .answers
                .retain(|_, answer| Arc::strong_count(answer) > 1);
            self.answers += known.answers.len();
        }
        self.strings.retain(|text| Arc::strong_count(text) > 1);
        self.most = MIN_ANSWERS
            .max(2 * self.answers)
            .max(self.strings.len() / 2);
    }

    /// Drops what is known of modules that are not mapped any more, once those are many.
    pub fn drop_unmapped(&mut self, is_mapped: impl Fn(&Origin) -> bool) {
        let gone = self.modules.keys().filter(|origin| !is_mapped(origin));
        if gone.count() > MAX_GONE {
            self.modules.retain(|origin, _| is_mapped(origin));
            self.drop_unused();
        }
    }

    /// The function at an address of a module by the symbol tables alone, which
    /// need not be unpacked as debug information may: without file or line, nor
    /// what was inlined.
    pub fn function(
        &mut self,
        module: &Module,
        address: ImageAddress,
        objects: &dyn Objects,
    ) -> Symbol {
        let asked = Asked {
            module,
            objects,
            address,
        };
        self.look_up(&asked, Self::by_table)
    }

    /// Looks something up in what is known of a module, reading that first if
    /// need be.
    fn look_up<T>(
        &mut self,
        asked: &Asked<'_>,
        find: impl FnOnce(&mut Self, &ModuleSymbols, &Asked<'_>) -> T,
    ) -> T {
        let origin = asked.module.origin();
        let known = self.modules.get_mut(origin);
        let symbols = known.and_then(|known| known.symbols.take());
        let symbols = symbols.unwrap_or_else(|| self.open(asked.module, asked.objects));
        let found = find(self, &symbols, asked);
        self.modules.entry(origin.clone()).or_default().symbols = Some(symbols);
        found
    }

    fn open(&self, module: &Module, objects: &dyn Objects) -> ModuleSymbols {
        let path: Option<&Path> = match module.origin() {
            Origin::File(file) => Some(&file.path),
            Origin::Vdso | Origin::Anonymous => None,
        };
        match module.file(objects, self.arch) {
            Ok(file) => ModuleSymbols::open(file, path, &self.places, objects),
            Err(_) => ModuleSymbols::default(),
        }
    }

    fn ask(&mut self, symbols: &ModuleSymbols, asked: &Asked<'_>) -> Vec<Symbol> {
        if symbols.is_stub(asked.address) {
            return vec![self.by_table(symbols, asked)];
        }
        let frames = symbols
            .debug(asked.address)
            .map(|debug| debug.find(asked.address))
            .unwrap_or_default();
        let count = frames.len();
        let mut found: Vec<Symbol> = Vec::with_capacity(count.max(1));
        for (at, frame) in frames.into_iter().enumerate() {
            let file = frame.file.map(|file| self.intern(&file));
            let inlined = at + 1 < count;
            let (name, source) = match frame.function {
                Some(name) if inlined => (self.intern(&name), NameSource::DebugInfo),
                Some(name) => {
                    let name = qualified(name, symbols, asked.address);
                    (self.intern(&name), NameSource::DebugInfo)
                }
                // Symbol tables know the function that it is part of.
                None if inlined => continue,
                None => self.without_debug_info(symbols, asked),
            };
            found.push(Symbol {
                name,
                file,
                line: frame.line,
                inlined,
                wraps: false,
                source,
            });
        }
        if found.is_empty() {
            found.push(self.by_table(symbols, asked));
        }
        found
    }

    /// What Cython made of functions, as their author knows them. What only
    /// wraps a function that was inlined into it is not told apart from that.
    fn as_written(&mut self, symbols: Vec<Symbol>, asked: &Asked<'_>) -> Vec<Symbol> {
        let mut found: Vec<Symbol> = Vec::with_capacity(symbols.len());
        for mut symbol in symbols {
            if let Some(function) = cython::demangle(&symbol.name) {
                let module = match asked.module.origin() {
                    Origin::File(file) => Some(&*file.path),
                    Origin::Vdso | Origin::Anonymous => None,
                };
                let place = self.cython.find(&symbol, module, asked.objects);
                if let Some((file, line)) = place {
                    symbol.file = Some(self.intern(&file));
                    symbol.line = Some(line);
                }
                symbol.name = self.intern(&function.name);
                symbol.wraps = function.wraps;
            }
            match found.last_mut() {
                Some(inner) if symbol.wraps && inner.name == symbol.name => {
                    inner.inlined = symbol.inlined;
                }
                _ => found.push(symbol),
            }
        }
        found
    }

    fn by_table(&mut self, symbols: &ModuleSymbols, asked: &Asked<'_>) -> Symbol {
        let (name, source) = self.without_debug_info(symbols, asked);
        Symbol::named(name, source)
    }

    fn without_debug_info(
        &mut self,
        symbols: &ModuleSymbols,
        asked: &Asked<'_>,
    ) -> (Arc<str>, NameSource) {
        if let Some(function) = symbols.by_stub(asked.address, self.arch) {
            let name = format!("{}{STUB}", demangle(&function));
            return (self.intern(&name), NameSource::DynamicSymbols);
        }
        let function = asked.module;
        let function = function.function_start(asked.objects, self.arch, asked.address);
        match symbols.by_table(asked.address, function) {
            Some((source, name)) => (self.intern(&demangle(&name)), source),
            None => {
                let start = function.unwrap_or(asked.address);
                let name = format!("{}+{start}", asked.module.name());
                (self.intern(&name), NameSource::Nothing)
            }
        }
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.strings.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::arch::x86_64::X86_64;
    use crate::image::ObjectBytes;
    use crate::mapping::MappedFile;

    struct NoFiles;

    impl Objects for NoFiles {
        fn object(&self, _: &Origin) -> Option<ObjectBytes> {
            None
        }
    }

    fn module(inode: u64) -> Module {
        Module::new(Origin::File(MappedFile {
            path: Path::new("/lib/made.so").into(),
            device: 1,
            inode,
            build_id: None,
        }))
    }

    /// A program that runs ever new code, or maps ever new files, makes nothing grow: what
    /// somebody has is kept, the rest dropped.
    #[test]
    fn what_nobody_has_is_dropped() {
        let mut symbolizer = Symbolizer::new(&X86_64, DebugPlaces::default());
        let (one, address) = (module(1), |at| Some(ImageAddress::new(at)));
        let held = symbolizer.resolve(&one, address(7), &NoFiles);
        let mut most = (0, 0);
        for at in 8..20 * MIN_ANSWERS as u64 {
            symbolizer.resolve(&one, address(at), &NoFiles);
            let answers: usize = symbolizer.modules.values().map(|m| m.answers.len()).sum();
            most = (answers.max(most.0), symbolizer.strings.len().max(most.1));
        }
        assert!(most.0 <= 2 * MIN_ANSWERS, "{most:?}");
        assert!(most.1 <= 8 * MIN_ANSWERS, "{most:?}");
        let again = symbolizer.resolve(&one, address(7), &NoFiles);
        assert!(Arc::ptr_eq(&held, &again));
        for inode in 2..1000 {
            let now = module(inode);
            symbolizer.resolve(&now, address(7), &NoFiles);
            symbolizer.drop_unmapped(|origin| origin == now.origin());
            assert!(symbolizer.modules.len() <= MAX_GONE + 1);
        }
    }
}
