//! What the program's code objects say about the calls they make.
//!
//! A call that is plain to see in the bytecode needs no other proof: a copied
//! stack in which it stands has not been torn there.

mod adaptive;
mod calls;
pub(super) mod classic;
mod opcodes;
mod operators;

use std::sync::Arc;

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use self::adaptive::Adaptive;
use self::calls::{CallInstruction, Calls, Symbol};
use self::classic::Dialect;
use super::GENERATOR;
use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;
use crate::object::Objects;

/// Code objects, as far as their calls are concerned, by address.
#[derive(Debug)]
pub(super) struct Program {
    layout: Layout,
    offsets: Offsets,
    bytecode: Bytecode,
    codes: HashMap<RemoteAddr, Arc<Code>>,
    /// What could not be understood, and how often that was tried.
    failures: HashMap<RemoteAddr, (Identity, u32)>,
    /// The names of all of them, and how many have each.
    names: HashMap<String, usize>,
}

/// How bytecode is written, and where it lies in a code object.
#[derive(Debug)]
enum Bytecode {
    /// In a `bytes` object, to 3.10.
    Classic {
        dialect: Dialect,
        code: usize,
        consts: usize,
        /// Local variables, cells, and what cells are free.
        locals: [usize; 3],
    },
    /// In the code object itself, from 3.11 on.
    Adaptive {
        adaptive: Adaptive,
        code: usize,
        /// `ob_size`: the number of code units.
        units: usize,
        locals: usize,
    },
}

/// Bytes of a code unit (`_Py_CODEUNIT`).
const CODE_UNIT: u64 = 2;
/// Bytes of a function: more than any has.
const MAX_BYTECODE: usize = 1 << 22;

#[derive(Clone, Copy, Debug)]
struct Offsets {
    name: usize,
    flags: usize,
    names: usize,
    tuple_size: usize,
    tuple_items: usize,
    span: usize,
}

/// Code objects remembered before starting anew; a large program has some ten
/// thousand.
const MAX_CODES: usize = 1 << 16;
/// Names or constants of a code object: a module that is a table of data has one
/// constant for each of its entries.
const MAX_TUPLE: u64 = 1 << 17;
/// Attempts at a code object: one whose memory was just freed is soon another.
const MAX_ATTEMPTS: u32 = 4;

/// A code object's name and calls.
#[derive(Debug)]
pub(super) struct Code {
    name: String,
    is_generator: bool,
    calls: Calls,
    sites: Vec<Site>,
    /// Where its bytecode lies, from 3.11 on.
    first: RemoteAddr,
    identity: Identity,
}

/// An address can be another code object's by now: what its own words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    name: RemoteAddr,
    names: RemoteAddr,
    code: RemoteAddr,
    units: u32,
}

/// An instruction that calls, or asks a generator for its next value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    offset: u32,
    stands: u32,
    callee: Callee,
    resumes: bool,
}

/// What an instruction calls.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Callee {
    Named(Arc<str>),
    Code(RemoteAddr),
    Unknown,
}

impl Code {
    /// Whether the instruction at `offset` finds what it calls by the name of
    /// `callee`, which is `to`, and runs it. A call of a generator only makes
    /// one, which runs where somebody asks it for its next value.
    pub(super) fn calls_by_name(&self, offset: u32, callee: RemoteAddr, to: &Self) -> bool {
        self.site(offset).is_some_and(|site| site.runs(callee, to))
    }

    /// Whether the instruction at `offset` asks a generator for its next value.
    pub(super) fn resumes(&self, offset: u32) -> bool {
        self.site(offset).is_some_and(|site| site.resumes)
    }

    /// Whether it is plain to see whom the instruction at `offset` calls.
    pub(super) fn names_callee(&self, offset: u32) -> bool {
        let callee = self.site(offset).map(|site| &site.callee);
        callee.is_some_and(|callee| *callee != Callee::Unknown)
    }

    /// Whether it runs only when it is asked for its next value.
    pub(super) fn is_generator(&self) -> bool {
        self.is_generator
    }

    fn site(&self, offset: u32) -> Option<&Site> {
        let sites = &self.sites;
        let offset = self.calls.instruction(offset);
        let index = sites.binary_search_by_key(&offset, |site| site.offset);
        sites.get(index.ok()?)
    }

    /// Where it stands while it does.
    pub(super) fn calls_to<'a>(
        &'a self,
        callee: RemoteAddr,
        to: &'a Self,
    ) -> impl Iterator<Item = u32> + 'a {
        let sites = self.sites.iter();
        sites
            .filter(move |site| site.runs(callee, to))
            .map(|site| site.stands)
    }

    /// Whether the instruction at `offset` calls no Python function by itself.
    pub(super) fn is_quiet(&self, offset: u32) -> bool {
        let offset = self.calls.instruction(offset);
        self.calls.quiet.contains(&offset)
    }

    /// Whether the instruction at `offset` may run something in the loop that runs
    /// itself: a generator that is there already (`throw` is a call that leads straight
    /// to it), or anything else.
    pub(super) fn can_push(&self, offset: u32, generator: bool) -> bool {
        let at = self.calls.instruction(offset);
        !self.calls.quiet.contains(&at)
            && !self.calls.outside.contains(&at)
            && (generator || !self.resumes(offset))
    }

    /// From where among these places it has come without a jump to `offset`,
    /// where it stands now; the only place there is needs no such proof.
    pub(super) fn came_from(&self, places: &mut Vec<u32>, offset: Option<u32>) -> Option<u32> {
        places.sort_unstable();
        places.dedup();
        match places.as_slice() {
            [only] => Some(*only),
            _ => self.came_straight_from(places, offset?),
        }
    }

    /// The same with that proof in any case; the places are in ascending order.
    pub(super) fn came_straight_from(&self, places: &[u32], offset: u32) -> Option<u32> {
        let passed = places.partition_point(|place| *place < offset);
        let last = places.get(..passed)?.last().copied();
        last.filter(|last| self.calls.is_straight(*last, offset))
    }

    /// Where in its bytecode an instruction lies, from 3.11 on.
    pub(super) fn offset_of(&self, instruction: RemoteAddr) -> Option<u32> {
        let offset = instruction.checked_sub(self.first)?;
        u32::try_from(offset).ok()
    }

    /// The instruction that lies there, from 3.11 on.
    pub(super) fn instruction_at(&self, offset: u32) -> RemoteAddr {
        self.first.offset(offset.into())
    }
}

impl Site {
    fn runs(&self, code: RemoteAddr, of: &Code) -> bool {
        self.resumes == of.is_generator && self.callee.is(code, &of.name)
    }
}

impl Callee {
    fn is(&self, code: RemoteAddr, name: &str) -> bool {
        match self {
            Self::Named(known) => {
                // Inside a class `__name` is stored as `_Class__name`
                // (`_Py_Mangle`, `Python/compile.c`).
                &**known == name
                    || (name.starts_with("__")
                        && known.starts_with('_')
                        && known.ends_with(name)
                        && !name.ends_with("__"))
            }
            Self::Code(known) => *known == code,
            Self::Unknown => false,
        }
    }
}

impl Program {
    pub(super) fn new(layout: &Layout) -> Result<Self, MissingField> {
        let name = layout.need(Field::CodeName)?;
        let flags = layout.need(Field::CodeFlags)?;
        let names = layout.need(Field::CodeNames)?;
        let mut used = vec![name, flags, names];
        let bytecode = match layout.get(Field::CodeAdaptive) {
            Some(code) => {
                let units = layout.need(Field::VarSize)?;
                let locals = layout.need(Field::CodeLocalsplusnames)?;
                used.extend([units, locals]);
                Bytecode::Adaptive {
                    adaptive: Adaptive::of(layout.version()),
                    code,
                    units,
                    locals,
                }
            }
            None => {
                let is_old = layout.get(Field::OpCallFunctionVar).is_some();
                let jump_unit = LineEncoding::of(layout).frame_unit().unsigned_abs();
                let code = layout.need(Field::CodeCode)?;
                let consts = layout.need(Field::CodeConsts)?;
                let locals = [
                    layout.need(Field::CodeVarnames)?,
                    layout.need(Field::CodeCellvars)?,
                    layout.need(Field::CodeFreevars)?,
                ];
                used.extend(locals);
                used.extend([code, consts]);
                Bytecode::Classic {
                    dialect: match is_old {
                        true => Dialect::Bytes,
                        false => Dialect::Words { jump_unit },
                    },
                    code,
                    consts,
                    locals,
                }
            }
        };
        Ok(Self {
            layout: layout.clone(),
            offsets: Offsets {
                name,
                flags,
                names,
                tuple_size: layout.need(Field::TupleSize)?,
                tuple_items: layout.need(Field::TupleItems)?,
                span: used.into_iter().max().unwrap_or(0) + 8,
            },
            bytecode,
            codes: HashMap::new(),
            failures: HashMap::new(),
            names: HashMap::new(),
        })
    }

    /// The code object at `addr`; `None` if there is none to understand.
    pub(super) fn code(&mut self, memory: &dyn Memory, addr: RemoteAddr) -> Option<Arc<Code>> {
        let mut bytes = vec![0; self.offsets.span];
        memory.read(addr, &mut bytes).ok()?;
        let identity = self.identity(&bytes)?;
        if let Some(known) = self.codes.get(&addr)
            && known.identity == identity
        {
            return Some(known.clone());
        }
        let failed = self.failures.get(&addr);
        let attempts = failed.filter(|(of, _)| *of == identity).map_or(0, |f| f.1);
        if attempts >= MAX_ATTEMPTS {
            return None;
        }
        if self.codes.len() >= MAX_CODES {
            self.codes.clear();
            self.names.clear();
        }
        let Some(code) = self.read(memory, addr, &bytes, identity).map(Arc::new) else {
            if self.failures.len() >= MAX_CODES {
                self.failures.clear();
            }
            self.failures.insert(addr, (identity, attempts + 1));
            return None;
        };
        *self.names.entry(code.name.clone()).or_default() += 1;
        let before = self.codes.insert(addr, code.clone());
        if let Some(count) = before.and_then(|before| self.names.get_mut(&before.name)) {
            *count = count.saturating_sub(1);
        }
        Some(code)
    }

    /// What tells a code object from another one that lies where it lay: it has
    /// other names, or other bytecode.
    fn identity(&self, bytes: &[u8]) -> Option<Identity> {
        let (code, units) = match &self.bytecode {
            Bytecode::Classic { code, .. } => (Bytes(bytes).ptr(*code)?, 0),
            Bytecode::Adaptive { locals, units, .. } => {
                (Bytes(bytes).ptr(*locals)?, Bytes(bytes).u32(*units)?)
            }
        };
        Some(Identity {
            name: Bytes(bytes).ptr(self.offsets.name)?,
            names: Bytes(bytes).ptr(self.offsets.names)?,
            code,
            units,
        })
    }

    /// Whether no other function of this one's name was met.
    pub(super) fn is_only(&self, code: &Code) -> bool {
        self.names.get(&code.name).is_none_or(|count| *count <= 1)
    }

    /// Whether the instruction at `offset` calls a function of a name that some
    /// code object has.
    pub(super) fn calls_python(&self, code: &Code, offset: u32) -> bool {
        match code.site(offset).map(|site| &site.callee) {
            Some(Callee::Named(name)) => self.names.get(&**name).is_some_and(|count| *count > 0),
            Some(Callee::Code(_)) => true,
            Some(Callee::Unknown) | None => false,
        }
    }

    fn read(
        &self,
        memory: &dyn Memory,
        addr: RemoteAddr,
        bytes: &[u8],
        identity: Identity,
    ) -> Option<Code> {
        let offsets = self.offsets;
        let pointer = |offset| Bytes(bytes).ptr(offset);
        let objects = Objects::new(memory, &self.layout);
        let name = objects.text(pointer(offsets.name)?).ok()?;
        let flags = Bytes(bytes).u32(offsets.flags)?;
        let tuple = |offset| self.tuple(memory, pointer(offset)?);
        let names = tuple(offsets.names)?;
        let (calls, locals, cells, consts, first) = match &self.bytecode {
            Bytecode::Classic {
                dialect,
                code,
                consts,
                locals: [local, cell, free],
            } => {
                let bytecode = objects.bytes_within(pointer(*code)?, MAX_BYTECODE);
                let bytecode = bytecode.ok()?.ok()?;
                let mut cells = tuple(*cell)?;
                cells.extend(tuple(*free)?);
                let calls = Calls::of(&bytecode, *dialect);
                let first = RemoteAddr::NULL;
                (calls, tuple(*local)?, cells, tuple(*consts)?, first)
            }
            Bytecode::Adaptive {
                adaptive,
                code,
                units,
                locals,
            } => {
                let len = u64::from(Bytes(bytes).u32(*units)?) * CODE_UNIT;
                let first = addr.offset(*code as u64);
                let bytecode = memory.read_vec(first, len, MAX_BYTECODE).ok()?;
                let calls = adaptive.calls(&bytecode);
                (calls, tuple(*locals)?, Vec::new(), Vec::new(), first)
            }
        };
        let text = |of: &[RemoteAddr], index: u32| {
            let object = *of.get(usize::try_from(index).ok()?)?;
            Some(Callee::Named(objects.text(object).ok()?.into()))
        };
        let callee = |symbol| match symbol {
            Symbol::Name(index) => text(&names, index),
            Symbol::Local(index) => text(&locals, index),
            Symbol::Cell(index) => text(&cells, index),
            Symbol::Code(index) => {
                let code = consts.get(usize::try_from(index).ok()?)?;
                Some(Callee::Code(*code))
            }
        };
        // A long function calls the same names again and again.
        let mut known: HashMap<Symbol, Callee> = HashMap::new();
        let site = |call: &CallInstruction| Site {
            offset: call.offset,
            stands: call.stands,
            callee: match call.callee {
                Some(symbol) => known
                    .entry(symbol)
                    .or_insert_with(|| callee(symbol).unwrap_or(Callee::Unknown))
                    .clone(),
                None => Callee::Unknown,
            },
            resumes: call.resumes,
        };
        let sites = calls.instructions.iter().map(site).collect();
        Some(Code {
            name,
            is_generator: flags & GENERATOR != 0,
            calls,
            sites,
            first,
            identity,
        })
    }

    fn tuple(&self, memory: &dyn Memory, addr: RemoteAddr) -> Option<Vec<RemoteAddr>> {
        let size = self.offsets.tuple_size as u64;
        let count = memory.read_u64(addr.offset(size)).ok()?;
        if count > MAX_TUPLE {
            return None;
        }
        let items = addr.offset(self.offsets.tuple_items as u64);
        let limit = usize::try_from(MAX_TUPLE * 8).ok()?;
        let bytes = memory.read_vec(items, count * 8, limit).ok()?;
        let word = |word| Bytes(word).ptr(0).unwrap_or_default();
        Some(bytes.chunks_exact(8).map(word).collect())
    }
}
