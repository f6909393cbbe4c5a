//! What the program's code objects say about the calls they make.
//!
//! A call that is plain to see in the bytecode needs no other proof: a copied
//! stack in which it stands has not been torn there.

mod adaptive;
mod calls;
pub(super) mod classic;
mod index;
mod opcodes;
mod operators;

use std::sync::Arc;
use std::time::Instant;

use firefinch_memory::{Bytes, Memory, RemoteAddr};
use hashbrown::HashMap;

use self::adaptive::Adaptive;
use self::calls::{Cache, CallInstruction, Calls, Symbol};
use self::classic::Dialect;
use self::index::Index;
use super::{GENERATOR, Position, RawFrame, TRUSTED};
use crate::layout::{Field, Layout, MissingField};
use crate::lines::LineEncoding;
use crate::object::Objects;

/// Code objects, as far as their calls are concerned, by address.
#[derive(Debug)]
pub(super) struct Program {
    layout: Layout,
    offsets: Offsets,
    bytecode: Bytecode,
    codes: HashMap<RemoteAddr, Known>,
    /// What could not be understood, and how often that was tried.
    failures: HashMap<RemoteAddr, (Identity, u32)>,
    /// The names of all of them, and how many have each.
    names: HashMap<String, usize>,
    /// Bytes that all of them take, about.
    weight: usize,
}

/// A code object, and when it was last seen to lie there still.
#[derive(Debug)]
struct Known {
    code: Arc<Code>,
    at: Instant,
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
        noted: Option<NotedLayout>,
    },
}

/// Where what instructions note is found, from 3.12 on.
#[derive(Clone, Copy, Debug)]
struct NotedLayout {
    /// `co_version`.
    version: usize,
    /// `func_code`.
    code: usize,
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
/// What they may take before, in bytes; those of a large program take some 50 MB.
const MAX_WEIGHT: usize = 256 << 20;
/// Names are as long as somebody types them; a longer one is no callee's.
const MAX_NAME: usize = 4 << 10;
/// Bytes of names of one code object's callees.
const MAX_NAMES: usize = 4 << 20;
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
    index: Index,
    /// Where its bytecode lies, from 3.11 on.
    first: RemoteAddr,
    /// `co_version`, from 3.12 on.
    version: u32,
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
    cache: Option<Cache>,
}

/// Whom an instruction calls, by what it has noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// That function.
    Callee,
    /// Another one, the last time that it took note.
    Another,
    /// It pushes no frame of that function.
    Never,
    Nothing,
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

    /// Bytes that it takes, about.
    fn weight(&self) -> usize {
        let mut named: Vec<&Arc<str>> = self.sites.iter().filter_map(Site::name).collect();
        named.sort_unstable_by_key(|name| Arc::as_ptr(name));
        named.dedup_by_key(|name| Arc::as_ptr(name));
        let names = named.iter().map(|name| name.len()).sum::<usize>();
        let sites = self.sites.len() * size_of::<Site>();
        size_of::<Self>()
            + 2 * self.name.len()
            + names
            + sites
            + self.index.weight()
            + self.calls.weight()
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
        let candidates = self.index.candidates(callee, &to.name);
        let sites = candidates.filter_map(|number| self.sites.get(number));
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

    /// Whether a frame that stands at `offset` may have been at `place` before.
    pub(super) fn leads(&self, place: u32, offset: u32) -> bool {
        self.calls.leads(place, offset)
    }

    /// Whether the next thing it calls may be the one there.
    pub(super) fn leads_next(&self, offset: u32, place: u32) -> bool {
        self.calls.leads_next(offset, place)
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
    fn name(&self) -> Option<&Arc<str>> {
        match &self.callee {
            Callee::Named(name) => Some(name),
            Callee::Code(_) | Callee::Unknown => None,
        }
    }

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
                let version = layout.get(Field::CodeVersion);
                let noted = version.zip(layout.get(Field::FunctionCode));
                let noted = noted.map(|(version, code)| NotedLayout { version, code });
                used.extend([units, locals]);
                used.extend(version);
                Bytecode::Adaptive {
                    adaptive: Adaptive::of(layout.version()),
                    code,
                    units,
                    locals,
                    noted,
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
            weight: 0,
        })
    }

    /// Whether a frame of this code that stands at the instruction `now` must have been at
    /// the one `at` before.
    pub(super) fn passes(
        &mut self,
        memory: &dyn Memory,
        code: RemoteAddr,
        at: RemoteAddr,
        now: RemoteAddr,
    ) -> bool {
        let code = self.code(memory, code);
        code.is_some_and(|code| {
            let places = code.offset_of(at).zip(code.offset_of(now));
            places.is_some_and(|(at, now)| code.calls.passes(at, now))
        })
    }

    /// Whether a frame may come from where it stands to `place`.
    pub(super) fn leads(&mut self, memory: &dyn Memory, frame: &RawFrame, place: Position) -> bool {
        let (Position::Instruction(at, 0), Position::Instruction(place, 0)) =
            (frame.position, place)
        else {
            return false;
        };
        let code = self.code(memory, frame.code);
        code.is_some_and(|code| {
            let places = code.offset_of(at).zip(code.offset_of(place));
            places.is_some_and(|(at, place)| code.leads(at, place))
        })
    }

    /// The code object at `addr`; `None` if there is none to understand. That it is still
    /// the same is believed for a moment ([`TRUSTED`]): of a stack that has to be proved each
    /// is asked about many times.
    pub(super) fn code(&mut self, memory: &dyn Memory, addr: RemoteAddr) -> Option<Arc<Code>> {
        let now = Instant::now();
        if let Some(known) = self.codes.get(&addr)
            && now.saturating_duration_since(known.at) < TRUSTED
        {
            return Some(known.code.clone());
        }
        let mut bytes = vec![0; self.offsets.span];
        memory.read(addr, &mut bytes).ok()?;
        let identity = self.identity(&bytes)?;
        if let Some(known) = self.codes.get_mut(&addr)
            && known.code.identity == identity
        {
            known.at = now;
            return Some(known.code.clone());
        }
        let failed = self.failures.get(&addr);
        let attempts = failed.filter(|(of, _)| *of == identity).map_or(0, |f| f.1);
        if attempts >= MAX_ATTEMPTS {
            return None;
        }
        if self.codes.len() >= MAX_CODES || self.weight >= MAX_WEIGHT {
            self.codes.clear();
            self.names.clear();
            self.weight = 0;
        }
        let Some(code) = self.read(memory, addr, &bytes, identity).map(Arc::new) else {
            if self.failures.len() >= MAX_CODES {
                self.failures.clear();
            }
            self.failures.insert(addr, (identity, attempts + 1));
            return None;
        };
        *self.names.entry(code.name.clone()).or_default() += 1;
        self.weight += code.weight();
        let known = Known {
            code: code.clone(),
            at: now,
        };
        if let Some(before) = self.codes.insert(addr, known) {
            self.weight -= before.code.weight();
            self.forget_name(&before.code.name);
        }
        Some(code)
    }

    fn forget_name(&mut self, name: &str) {
        if let Some(count) = self.names.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.names.remove(name);
            }
        }
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

    /// Whom the instruction at which the caller stands calls, by what it has noted. It is
    /// read now; it changes seldom.
    pub(super) fn notes(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> Noted {
        self.noted(memory, caller, callee).unwrap_or(Noted::Nothing)
    }

    fn noted(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> Option<Noted> {
        let Position::Instruction(at, 0) = caller.position else {
            return None;
        };
        let code = self.code(memory, caller.code)?;
        let site = code.site(code.offset_of(at)?)?;
        let cache = site.cache?;
        match cache {
            Cache::Version { general } => {
                let to = self.code(memory, callee.code)?;
                let whole = memory.read_u64(code.instruction_at(site.offset)).ok()?;
                let [number, _, _, _, version @ ..] = whole.to_le_bytes();
                // Whoever calls many has stopped to take note, or notes now this one, now
                // that one; and that of a class is noted for `__init__`.
                let is_vague =
                    number == general || site.callee == Callee::Unknown || to.name == "__init__";
                Some(match u32::from_le_bytes(version) {
                    0 => Noted::Nothing,
                    version if version == to.version => Noted::Callee,
                    _ if is_vague => Noted::Nothing,
                    _ => Noted::Another,
                })
            }
            Cache::Function => {
                let Bytecode::Adaptive { noted, .. } = &self.bytecode else {
                    return None;
                };
                let at = code.instruction_at(site.offset + cache.offset());
                let function = memory.read_ptr(at).ok()?;
                let code = memory.read_ptr(function.offset((*noted)?.code as u64));
                Some(match code {
                    Ok(code) if code == callee.code => Noted::Callee,
                    _ => Noted::Never,
                })
            }
        }
    }

    /// Whether the bytecode says that the caller does not call this one where it stands,
    /// but somewhere else, or another one there. `sites` are those from where it is known
    /// to call it.
    pub(super) fn contradicts(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
        sites: &[Position],
    ) -> bool {
        self.names_elsewhere(memory, caller, callee)
            || self.notes(memory, caller, callee) == Noted::Another
            || self.notes_elsewhere(memory, caller, callee, sites)
    }

    /// Whether the caller has not noted this callee where it stands, but has so at one of
    /// these sites.
    pub(super) fn notes_elsewhere(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
        sites: &[Position],
    ) -> bool {
        let mut calls_at = |position| {
            let caller = RawFrame {
                position,
                ..*caller
            };
            self.notes(memory, &caller, callee) == Noted::Callee
        };
        let mut sites = sites.iter().copied();
        sites.any(|site| site != caller.position && calls_at(site)) && !calls_at(caller.position)
    }

    /// The code of two frames, and where the caller stands in its own: `None` inside if
    /// before its first instruction.
    pub(super) fn pair(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> Option<(Arc<Code>, Option<u32>, Arc<Code>)> {
        let Position::Instruction(at, 0) = caller.position else {
            return None;
        };
        let code = self.code(memory, caller.code)?;
        let to = self.code(memory, callee.code)?;
        let at = code.offset_of(at);
        Some((code, at, to))
    }

    /// Whether the caller does not call this one by its name where it stands, but does so
    /// elsewhere.
    pub(super) fn names_elsewhere(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> bool {
        let Some((code, here, to)) = self.pair(memory, caller, callee) else {
            return false;
        };
        !here.is_some_and(|at| code.calls_by_name(at, callee.code, &to))
            && code.calls_to(callee.code, &to).next().is_some()
    }

    /// Whether the caller stands where it calls something of another name.
    pub(super) fn names_another(
        &mut self,
        memory: &dyn Memory,
        caller: &RawFrame,
        callee: &RawFrame,
    ) -> bool {
        let Some((code, here, to)) = self.pair(memory, caller, callee) else {
            return false;
        };
        here.is_some_and(|at| code.names_callee(at) && !code.calls_by_name(at, callee.code, &to))
    }

    /// Whether the instruction at `offset` calls a function of a name that some
    /// code object has.
    pub(super) fn calls_python(&self, code: &Code, offset: u32) -> bool {
        match code.site(offset).map(|site| &site.callee) {
            Some(Callee::Named(name)) => self.names.contains_key(&**name),
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
        let name = objects.text_within(pointer(offsets.name)?, MAX_NAME);
        let name = name.ok()?;
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
                ..
            } => {
                let len = u64::from(Bytes(bytes).u32(*units)?) * CODE_UNIT;
                let first = addr.offset(*code as u64);
                let bytecode = memory.read_vec(first, len, MAX_BYTECODE).ok()?;
                let calls = adaptive.calls(&bytecode);
                (calls, tuple(*locals)?, Vec::new(), Vec::new(), first)
            }
        };
        let mut room = MAX_NAMES;
        let mut text = |of: &[RemoteAddr], index: u32| {
            let object = *of.get(usize::try_from(index).ok()?)?;
            let name = objects.text_within(object, MAX_NAME.min(room)).ok()?;
            room = room.saturating_sub(name.len());
            Some(Callee::Named(name.into()))
        };
        let mut callee = |symbol| match symbol {
            Symbol::Name(index) => text(&names, index),
            Symbol::Local(index) => text(&locals, index),
            Symbol::Cell(index) => text(&cells, index),
            Symbol::Subscript => Some(Callee::Named("__getitem__".into())),
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
            cache: call.cache,
        };
        let sites: Vec<_> = calls.instructions.iter().map(site).collect();
        Some(Code {
            name,
            is_generator: flags & GENERATOR != 0,
            calls,
            index: Index::of(&sites),
            sites,
            first,
            version: self.version_in(bytes).unwrap_or(0),
            identity,
        })
    }

    fn version_in(&self, bytes: &[u8]) -> Option<u32> {
        match &self.bytecode {
            Bytecode::Adaptive { noted, .. } => Bytes(bytes).u32((*noted)?.version),
            Bytecode::Classic { .. } => None,
        }
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

#[cfg(test)]
mod tests {
    use firefinch_memory::Snapshot;

    use super::*;
    use crate::layout::{Build, ReleaseLevel, Version};

    const CODE: RemoteAddr = RemoteAddr::new(0x10_0000);
    const STR: u64 = 0x1000;
    const BYTES: u64 = 0x2000;
    const TUPLE: RemoteAddr = RemoteAddr::new(0x1000_0000);
    const EMPTY: u64 = 0x3000;

    struct Target {
        memory: Snapshot,
        layout: Layout,
        next: u64,
    }

    impl Target {
        fn new() -> Self {
            Self::of(10)
        }

        fn of(minor: u8) -> Self {
            let version = Version {
                major: 3,
                minor,
                micro: 0,
                level: ReleaseLevel::Final,
                serial: 0,
            };
            let mut target = Self {
                memory: Snapshot::new(),
                layout: Layout::of(version, Build::Release).unwrap(),
                next: 0x2000_0000,
            };
            for (kind, bit) in [(STR, 28), (BYTES, 27)] {
                target.zeros(kind, 1024);
                target.set(kind, Field::TypeFlags, 1 << bit);
            }
            target.zeros(EMPTY, 64);
            target
        }

        fn zeros(&mut self, at: u64, len: usize) {
            self.memory.insert(RemoteAddr::new(at), vec![0; len]);
        }

        fn set(&mut self, base: u64, field: Field, value: u64) {
            let at = self.layout.need(field).unwrap() as u64;
            let at = RemoteAddr::new(base + at);
            self.memory.insert(at, value.to_le_bytes().to_vec());
        }

        fn object(&mut self, kind: u64, size: Field, len: usize, data: u64, of: &[u8]) -> u64 {
            let at = self.next;
            self.next += (data + of.len() as u64 + 64).next_multiple_of(64);
            self.zeros(at, usize::try_from(data).unwrap() + 64);
            self.set(at, Field::ObjectType, kind);
            self.set(at, size, len as u64);
            self.memory.insert(RemoteAddr::new(at + data), of.to_vec());
            at
        }

        fn text(&mut self, text: &str) -> u64 {
            let data = self.layout.need(Field::StrAsciiSize).unwrap() as u64;
            let bytes = text.as_bytes();
            let at = self.object(STR, Field::StrAsciiLength, text.len(), data, bytes);
            let bit = |field| 1 << self.layout.need(field).unwrap();
            let state =
                bit(Field::StrKindBit) | bit(Field::StrCompactBit) | bit(Field::StrAsciiBit);
            let state_at = self.layout.need(Field::StrAsciiState).unwrap() as u64;
            let state_at = RemoteAddr::new(at + state_at);
            self.memory
                .insert(state_at, u32::to_le_bytes(state).to_vec());
            at
        }

        /// A function that calls each of these.
        fn calling(&mut self, name: &str, callees: &[u64]) {
            let mut code = Vec::new();
            for index in 0..callees.len() {
                let [_, high, middle, low] = u32::try_from(index).unwrap().to_be_bytes();
                code.extend([144, high, 144, middle, 116, low, 131, 0, 1, 0]);
            }
            let data = self.layout.need(Field::BytesData).unwrap() as u64;
            let code = self.object(BYTES, Field::BytesSize, code.len(), data, &code);
            let name = self.text(name);
            self.zeros(CODE.get(), 256);
            self.zeros(TUPLE.get(), 64);
            self.set(TUPLE.get(), Field::TupleSize, callees.len() as u64);
            let items = self.layout.need(Field::TupleItems).unwrap() as u64;
            let words = callees.iter().flat_map(|callee| callee.to_le_bytes());
            self.memory.insert(TUPLE.offset(items), words.collect());
            self.set(CODE.get(), Field::CodeName, name);
            self.set(CODE.get(), Field::CodeCode, code);
            self.set(CODE.get(), Field::CodeNames, TUPLE.get());
            for field in [
                Field::CodeConsts,
                Field::CodeVarnames,
                Field::CodeCellvars,
                Field::CodeFreevars,
            ] {
                self.set(CODE.get(), field, EMPTY);
            }
        }
    }

    impl Target {
        /// A code object of 3.12 or later.
        fn adaptive(&mut self, at: RemoteAddr, version: u32, bytecode: &[u8]) {
            let name = self.text("f");
            self.zeros(at.get(), 1024);
            self.set(at.get(), Field::CodeName, name);
            self.set(at.get(), Field::CodeNames, EMPTY);
            self.set(at.get(), Field::CodeLocalsplusnames, EMPTY);
            let units = bytecode.len() as u64 / CODE_UNIT;
            let words = [
                (Field::CodeVersion, u64::from(version)),
                (Field::VarSize, units),
            ];
            for (field, value) in words {
                let at = at.offset(self.layout.need(field).unwrap() as u64);
                let value = u32::try_from(value).unwrap().to_le_bytes();
                self.memory.insert(at, value.to_vec());
            }
            let first = self.layout.need(Field::CodeAdaptive).unwrap() as u64;
            self.memory.insert(at.offset(first), bytecode.to_vec());
        }
    }

    /// Calls say whom they call by the version of its code, and are doubted if they name
    /// something; loads of attributes by the function: these call nothing else. The general
    /// form of a call has no more than an old note.
    #[test]
    fn instructions_note_whom_they_call() {
        const CALLEES: [RemoteAddr; 2] = [RemoteAddr::new(0x20_0000), RemoteAddr::new(0x30_0000)];
        const FUNCTION: u64 = 0x40_0000;
        let mut target = Target::of(13);
        // LOAD_GLOBAL, two forms of CALL, and LOAD_ATTR (`opcode` of 3.13).
        let global = [&[91, 1], &[0; 8][..]].concat();
        let call = |form| [&[form, 0, 0, 0], &7_u32.to_le_bytes()[..]].concat();
        let load = [&[82, 0], &[0; 10][..], &FUNCTION.to_le_bytes()].concat();
        let named = [&global[..], &call(177)].concat();
        let general = [&global[..], &call(53)].concat();
        target.adaptive(CODE, 1, &[named, general, call(177), load].concat());
        let name = target.text("g");
        target.zeros(TUPLE.get(), 64);
        target.set(TUPLE.get(), Field::TupleSize, 1);
        target.set(TUPLE.get(), Field::TupleItems, name);
        target.set(CODE.get(), Field::CodeNames, TUPLE.get());
        target.adaptive(CALLEES[0], 7, &[]);
        target.adaptive(CALLEES[1], 8, &[]);
        target.zeros(FUNCTION, 256);
        target.set(FUNCTION, Field::FunctionCode, CALLEES[1].get());
        let mut program = Program::new(&target.layout).unwrap();
        let first = program.code(&target.memory, CODE).unwrap().first;
        let mut notes = |offset, callee: RemoteAddr| {
            let frame = |code, at| RawFrame {
                addr: RemoteAddr::NULL,
                code,
                position: Position::Instruction(at, 0),
            };
            let caller = frame(CODE, first.offset(offset));
            program.notes(&target.memory, &caller, &frame(callee, RemoteAddr::NULL))
        };
        let found = CALLEES.map(|callee| [10, 28, 36, 44].map(|offset| notes(offset, callee)));
        let [callee, another, never, nothing] =
            [Noted::Callee, Noted::Another, Noted::Never, Noted::Nothing];
        assert_eq!(found[0], [callee, callee, callee, never]);
        assert_eq!(found[1], [another, nothing, nothing, callee]);
    }

    fn names(code: &Code) -> Vec<usize> {
        let names = code.sites.iter().filter_map(Site::name);
        names.map(|name| name.len()).collect()
    }

    /// A callee's name without end is not read, and many long ones are only up to
    /// some megabytes, while those before them are known.
    #[test]
    fn names_are_short() {
        let mut target = Target::new();
        let short = target.text("g");
        let endless = target.text(&"x".repeat(1 << 20));
        let long: Vec<u64> = (0..3_000)
            .map(|_| target.text(&"y".repeat(4_000)))
            .collect();
        let callees = [&[short, endless], long.as_slice()].concat();
        target.calling("f", &callees);
        let mut program = Program::new(&target.layout).unwrap();
        let code = program.code(&target.memory, CODE).unwrap();
        assert_eq!(code.sites.len(), callees.len());
        let found = names(&code);
        assert_eq!(found[..2], [1, 4_000]);
        let kept = found.iter().sum::<usize>();
        assert!(kept > MAX_NAMES / 2 && kept <= MAX_NAMES, "{kept} bytes");
        assert!(program.weight > kept && program.weight < 2 * MAX_NAMES);
    }

    /// What a code object took is given back when another one lies where it lay, its
    /// name as well.
    #[test]
    fn replaced_code_leaves_nothing() {
        let mut target = Target::new();
        let callee = target.text("g");
        let mut program = Program::new(&target.layout).unwrap();
        let mut weights = Vec::new();
        for index in 0..100 {
            target.calling(&format!("f{index:03}"), &[callee]);
            program.code(&target.memory, CODE).unwrap();
            weights.push(program.weight);
        }
        assert_eq!(program.names.len(), 1);
        assert_eq!(weights.first(), weights.last());
    }
}
