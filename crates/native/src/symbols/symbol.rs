use std::sync::Arc;

/// A function that an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// The function's name. Without any it is the module's with the address
    /// where the function starts, as in `libz.so.1+0x1230`, or if that is not
    /// known either, the address asked for: the same in every run.
    pub name: Arc<str>,
    /// The source file.
    pub file: Option<Arc<str>>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// It was inlined into the next.
    pub inlined: bool,
    /// It only hands its arguments on to a function of the same name.
    pub wraps: bool,
    /// Where the name comes from.
    pub source: NameSource,
}

/// Where a name comes from, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameSource {
    /// DWARF.
    DebugInfo,
    /// `.symtab`: all functions.
    SymbolTable,
    /// `.gnu_debugdata`: functions that `.dynsym` leaves out.
    MiniDebugInfo,
    /// `.dynsym`: functions that other objects may call.
    DynamicSymbols,
    /// The file that a program writes names of code to as it makes it.
    JitMap,
    /// The kernel, of its own functions.
    Kernel,
    /// There is no name.
    Nothing,
}

impl Symbol {
    /// A function of which nothing but the name is known.
    pub fn named(name: Arc<str>, source: NameSource) -> Self {
        Self {
            name,
            file: None,
            line: None,
            inlined: false,
            wraps: false,
            source,
        }
    }
}
