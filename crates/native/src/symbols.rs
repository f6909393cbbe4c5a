//! From addresses in object files to names, files and lines.

mod candidate;
mod cython;
mod cython_source;
mod cython_sources;
mod debug_files;
mod debug_info;
mod demangle;
mod jit_dump;
mod linkage;
mod module_symbols;
mod perf_map;
mod symbol;
mod symbol_table;
mod symbolizer;
mod unit_bytes;
mod units;

pub(crate) use debug_files::DebugFiles;
pub(crate) use debug_info::DebugInfo;
pub(crate) use linkage::Linkage;
pub(crate) use symbol_table::SymbolTable;

pub use candidate::{Candidate, DebugPlaces, Proof, Root};
pub use perf_map::PerfMap;
pub use symbol::{NameSource, Symbol};
pub use symbolizer::Symbolizer;
