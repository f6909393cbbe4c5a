//! The bytecode of 3.11 and later: code units of two bytes, some followed by
//! inline caches, which the interpreter rewrites while it runs
//! (`co_code_adaptive`, `Include/cpython/code.h`). What each instruction does is
//! in [`opcodes`](super::opcodes).
//!
//! Whom a call calls is found by going back from it over the instructions that
//! have put its arguments on the stack, to the one that loaded the function.
//! Arguments may branch; a loop among them hides the callee, and so does a jump to
//! them from elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::calls::{Cache, CallInstruction, Calls, Symbol};
use super::opcodes;

/// Instructions that are written alike.
#[derive(Debug)]
pub(super) struct Row {
    /// The instruction, and its specialized and instrumented forms.
    pub(super) numbers: &'static [u8],
    /// Code units of inline cache behind it.
    pub(super) caches: u8,
    pub(super) role: Role,
    pub(super) effect: Effect,
}

/// What an instruction is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It asks for an element, which is a call if somebody's `__getitem__` does that.
    Subscripts,
    /// It never pushes one, nor runs Python otherwise.
    Quiet,
    /// It may run Python, but by C code, in a loop of its own.
    Outside,
    /// The same, but for one argument.
    Operates {
        subscript: u32,
    },
    /// The high bits of the next one's argument (`EXTENDED_ARG`).
    Extends,
    /// It goes on there or with the next.
    Branches(Way),
    /// The same, but what it has tested stays on the stack if it goes on there.
    Keeps(Way),
    Jumps(Way),
    /// It leaves what is on the stack, or something that goes through it.
    Iterates,
    /// It asks a generator for its next value, or jumps forward at its end.
    Resumes,
    /// The next instruction does not follow it, or some time later.
    Ends,
    /// Nothing in the function follows it.
    Returns,
    /// It calls what lies below its arguments: as many as its own says, if that
    /// counts them, and so many values more.
    Calls {
        above: u32,
        counted: bool,
    },
    /// It belongs to the call behind it.
    Prepares,
    /// Of a global, or of a method with its object; the argument's bits from
    /// `shift` on are the index in `co_names`.
    LoadsName {
        shift: u32,
    },
    /// The same of an attribute, which is a call if it is a property.
    LoadsAttribute {
        shift: u32,
    },
    /// Of `co_localsplusnames`.
    LoadsLocal,
    /// Lies between a function and its arguments, from 3.13 on.
    PushesNull,
    /// Another one stood there in the program: tracing, or compiled code.
    Hidden,
}

/// Where a relative jump leads from behind the instruction and its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    Backward,
}

/// By how much the stack grows, given the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Fixed(i64),
    /// So much and so many times the argument.
    Linear(i64, i64),
    /// So much and so many times the argument's lowest bit.
    LowBit(i64, i64),
    Unknown,
}

/// What all the instructions of a version do, by number.
#[derive(Clone, Debug)]
pub(super) struct Adaptive {
    rows: Arc<[Option<&'static Row>]>,
    /// A frame that has called in its loop is said to stand at the last code
    /// unit before the next instruction (`prev_instr`, to 3.12).
    stands_behind: bool,
    /// Instructions note whom they call in a way that can be told (from 3.12 on).
    notes: bool,
}

#[derive(Clone, Copy, Debug)]
struct Instruction {
    /// With its prefixes.
    begin: u32,
    start: u32,
    /// Behind its caches.
    end: u32,
    arg: u32,
    /// The number of its general form.
    general: u8,
    role: Role,
    effect: Effect,
}

const UNIT: u32 = 2;
/// Instructions that the arguments of a call are followed back over.
const MAX_ARGUMENTS: usize = 256;

impl Adaptive {
    /// That of a version; of one that is not known no call is plain to see.
    pub(super) fn of(version: (u8, u8)) -> Self {
        let mut rows = vec![None; 256];
        let known = opcodes::VERSIONS.iter().find(|(of, _)| *of == version);
        for row in known.map_or(&[][..], |(_, rows)| rows) {
            for number in row.numbers {
                rows[usize::from(*number)] = Some(row);
            }
        }
        Self {
            rows: rows.into(),
            stands_behind: version < (3, 13),
            notes: version >= (3, 12),
        }
    }

    /// The calls in bytecode; none at all where it is not understood.
    pub(super) fn calls(&self, code: &[u8]) -> Calls {
        let Some(instructions) = self.decode(code) else {
            return Calls::default();
        };
        let mut calls = Calls::default();
        for instruction in &instructions {
            calls.starts.push(instruction.start);
            calls.labels.extend(instruction.target());
            let jump = instruction.target().map(|to| (instruction.start, to));
            calls.jumps.extend(jump);
            if instruction.is_stop() {
                calls.labels.insert(instruction.end);
                calls.stops.insert(instruction.start);
            }
            if instruction.role == Role::Returns {
                calls.leaves.insert(instruction.start);
            }
            if instruction.is_quiet() {
                calls.quiet.insert(instruction.start);
            }
            if instruction.is_outside() {
                calls.outside.insert(instruction.start);
            }
        }
        let jumped: BTreeSet<u32> = calls.jumps.iter().map(|(_, to)| *to).collect();
        calls.handlers = &calls.labels - &jumped;
        for (index, instruction) in instructions.iter().enumerate() {
            let callee = match instruction.role {
                Role::Calls { above, counted } => {
                    let counted = if counted { instruction.arg } else { 0 };
                    callee(&instructions, index, above.saturating_add(counted), &calls)
                }
                Role::LoadsAttribute { .. } if !instruction.loads_method() => instruction.symbol(),
                _ if instruction.subscripts() => Some(Symbol::Subscript),
                Role::Resumes => maker(&instructions, index, &calls),
                _ => continue,
            };
            calls.instructions.push(CallInstruction {
                offset: instruction.start,
                stands: match self.stands_behind {
                    true => instruction.end - UNIT,
                    false => instruction.start,
                },
                callee,
                is_load: instruction.loads_attribute() || instruction.subscripts(),
                resumes: instruction.role == Role::Resumes,
                cache: instruction.cache().filter(|_| self.notes),
            });
        }
        calls
    }

    fn decode(&self, code: &[u8]) -> Option<Vec<Instruction>> {
        let mut instructions = Vec::new();
        let mut at = 0_u32;
        let mut prefix: Option<(u32, u32)> = None;
        let end = u32::try_from(code.len()).ok()?;
        while at + UNIT <= end {
            let index = usize::try_from(at).ok()?;
            let &[number, arg] = code.get(index..index + 2)? else {
                return None;
            };
            let row = (*self.rows.get(usize::from(number))?)?;
            let (begin, high) = prefix.take().unwrap_or((at, 0));
            let arg = high << 8 | u32::from(arg);
            if row.role == Role::Hidden {
                return None;
            }
            let next = at + UNIT * (1 + u32::from(row.caches));
            if row.role == Role::Extends {
                prefix = Some((begin, arg));
            } else {
                instructions.push(Instruction {
                    begin,
                    start: at,
                    end: next,
                    arg,
                    general: *row.numbers.first()?,
                    role: row.role,
                    effect: row.effect,
                });
            }
            at = next;
        }
        Some(instructions)
    }
}

/// Whom the call at `index` calls, which lies below `above` values.
///
/// Arguments may have ways of their own (`f(a or b)`, `f(a if c else b)`). However the call
/// was come to, there is as much on the stack, so one way is followed back; but all of them
/// have to lead through what loads the function.
fn callee(instructions: &[Instruction], index: usize, above: u32, calls: &Calls) -> Option<Symbol> {
    let mut wanted = i64::from(above);
    let mut at = index;
    let mut is_straight = true;
    let mut prepares = true;
    for _ in 0..MAX_ARGUMENTS {
        let later = instructions.get(at)?;
        let is_label = |offset| calls.labels.contains(&offset);
        is_straight &= !is_label(later.begin) && !is_label(later.start);
        at = before(instructions, at, calls)?;
        let instruction = instructions.get(at)?;
        prepares &= instruction.role == Role::Prepares;
        if prepares || (wanted == 0 && instruction.role == Role::PushesNull) {
            continue;
        }
        if wanted == 0 && !instruction.only_pops() {
            let call = instructions.get(index)?;
            let is_passed = || calls.passes(instruction.start, call.start);
            return instruction.symbol().filter(|_| is_straight || is_passed());
        }
        wanted -= instruction.grows()?;
        if wanted < 0 {
            return None;
        }
    }
    None
}

/// An instruction from which the one at `index` is come to: the one before, or one that jumps
/// there and leaves as much on the stack then as when it goes on.
fn before(instructions: &[Instruction], index: usize, calls: &Calls) -> Option<usize> {
    let last = index.checked_sub(1)?;
    if !instructions.get(last)?.is_stop() {
        return Some(last);
    }
    let here = instructions.get(index)?;
    let mut jumps = calls.jumps.iter();
    let (from, _) = jumps.find(|(_, to)| (here.begin..=here.start).contains(to))?;
    let from = instructions.binary_search_by_key(from, |instruction| instruction.start);
    let from = from.ok().filter(|from| *from < index)?;
    let role = instructions.get(from)?.role;
    (role == Role::Branches(Way::Forward)).then_some(from)
}

/// The call that made the generator which the instruction at `index` asks: it
/// stands right before, as the loop does not put another one in its place.
fn maker(instructions: &[Instruction], index: usize, calls: &Calls) -> Option<Symbol> {
    let mut before = (0..index).rev();
    let passes = |at: usize, role| instructions.get(at).is_some_and(|i| i.role == role);
    let mut at = before.next()?;
    // What is sent first, where something may be sent, or what is counted.
    if passes(at, Role::Quiet) || passes(at, Role::PushesNull) {
        at = before.next()?;
    }
    // A generator expression needs none where `tuple` or `set` of it is a loop.
    if passes(at, Role::Iterates) {
        at = before.next()?;
    }
    let call = instructions.get(at)?;
    let Role::Calls { above, counted } = call.role else {
        return None;
    };
    let counted = if counted { call.arg } else { 0 };
    callee(instructions, at, above.saturating_add(counted), calls)
}

impl Instruction {
    fn target(&self) -> Option<u32> {
        let distance = self.arg.saturating_mul(UNIT);
        match self.role {
            Role::Branches(way) | Role::Keeps(way) | Role::Jumps(way) => match way {
                Way::Forward => self.end.checked_add(distance),
                Way::Backward => self.end.checked_sub(distance),
            },
            Role::Resumes => self.end.checked_add(distance),
            _ => None,
        }
    }

    /// Whether the next instruction does not follow it.
    fn is_stop(&self) -> bool {
        matches!(self.role, Role::Ends | Role::Returns | Role::Jumps(_))
    }

    fn is_quiet(&self) -> bool {
        let quiet = [
            Role::Quiet,
            Role::Ends,
            Role::Returns,
            Role::LoadsLocal,
            Role::PushesNull,
            Role::Prepares,
        ];
        let jumps = matches!(
            self.role,
            Role::Branches(_) | Role::Keeps(_) | Role::Jumps(_)
        );
        quiet.contains(&self.role) || jumps
    }

    /// Whether it takes something off the stack, and puts nothing there.
    fn only_pops(&self) -> bool {
        let drops = matches!(self.role, Role::Quiet | Role::Branches(_) | Role::Keeps(_));
        drops && matches!(self.effect, Effect::Fixed(by) if by < 0)
    }

    /// Whether it runs Python in a loop of its own only, if at all.
    fn is_outside(&self) -> bool {
        match self.role {
            Role::Outside | Role::Iterates | Role::LoadsName { .. } => true,
            Role::Operates { .. } => !self.subscripts(),
            _ => false,
        }
    }

    fn subscripts(&self) -> bool {
        match self.role {
            Role::Subscripts => true,
            Role::Operates { subscript } => self.arg == subscript,
            _ => false,
        }
    }

    fn loads_attribute(&self) -> bool {
        matches!(self.role, Role::LoadsAttribute { .. })
    }

    /// What it notes of whom it calls, if it has room for that.
    fn cache(&self) -> Option<Cache> {
        let cache = match self.role {
            Role::Calls { .. } => Cache::Version {
                general: self.general,
            },
            Role::LoadsAttribute { .. } => Cache::Function,
            _ => return None,
        };
        (self.end - self.start >= cache.end()).then_some(cache)
    }

    /// Whether an attribute is loaded to be called: then it is no property.
    fn loads_method(&self) -> bool {
        matches!(self.role, Role::LoadsAttribute { shift: 1 }) && self.arg & 1 == 1
    }

    /// What it loads, if it is a load.
    fn symbol(&self) -> Option<Symbol> {
        match self.role {
            Role::LoadsName { shift } | Role::LoadsAttribute { shift } => {
                Some(Symbol::Name(self.arg >> shift))
            }
            Role::LoadsLocal => Some(Symbol::Local(self.arg)),
            _ => None,
        }
    }

    /// By how much it lets the stack grow, if it goes on with the next.
    fn grows(&self) -> Option<i64> {
        if matches!(
            self.role,
            Role::Branches(Way::Backward)
                | Role::Keeps(Way::Backward)
                | Role::Jumps(_)
                | Role::Resumes
                | Role::Ends
                | Role::Returns
        ) {
            return None;
        }
        let arg = i64::from(self.arg);
        match self.effect {
            Effect::Fixed(by) => Some(by),
            Effect::Linear(by, each) => Some(by + each * arg),
            Effect::LowBit(by, each) => Some(by + each * (arg & 1)),
            Effect::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(version: (u8, u8), role: impl Fn(Role) -> bool, effect: Effect) -> u8 {
        let versions = opcodes::VERSIONS.iter();
        let (_, rows) = versions.clone().find(|(of, _)| *of == version).unwrap();
        let row = rows.iter().find(|r| role(r.role) && r.effect == effect);
        row.unwrap().numbers[0]
    }

    fn units(version: (u8, u8), instructions: &[(u8, u8)]) -> Vec<u8> {
        let adaptive = Adaptive::of(version);
        let caches = |number: u8| adaptive.rows[usize::from(number)].unwrap().caches;
        let written = instructions.iter().map(|(number, arg)| {
            let cache = vec![0xff; 2 * usize::from(caches(*number))];
            [vec![*number, *arg], cache].concat()
        });
        written.flatten().collect()
    }

    const ALL: [(u8, u8); 5] = [(3, 11), (3, 12), (3, 13), (3, 14), (3, 15)];

    /// No number means two things in one version, and every version has calls,
    /// loads of globals and returns.
    #[test]
    fn tables_are_whole() {
        for (version, rows) in opcodes::VERSIONS {
            let mut seen = [false; 256];
            for number in rows.iter().flat_map(|row| row.numbers) {
                assert!(!std::mem::replace(&mut seen[usize::from(*number)], true));
            }
            let has = |role: fn(Role) -> bool| rows.iter().any(|row| role(row.role));
            assert!(
                has(|role| matches!(role, Role::Calls { .. })),
                "{version:?}"
            );
            assert!(has(|role| role == Role::LoadsName { shift: 1 }));
            assert!(has(|role| role == Role::Ends));
            assert!(has(|role| role == Role::Returns));
            assert!(has(|role| role == Role::Jumps(Way::Backward)));
        }
        let mut versions: Vec<_> = opcodes::VERSIONS.iter().map(|(of, _)| *of).collect();
        versions.sort_unstable();
        assert_eq!(versions, ALL);
    }

    /// `g(f(x), x)`: the inner call's callee is `f`, the outer one's `g`, past
    /// caches and the other's arguments; a frame in the call stands where its
    /// version says; the return runs nothing.
    #[test]
    fn callees_lie_below_their_arguments() {
        for version in ALL {
            let global = number(
                version,
                |role| role == Role::LoadsName { shift: 1 },
                Effect::LowBit(1, 1),
            );
            let local = number(version, |role| role == Role::LoadsLocal, Effect::Fixed(1));
            let is_call = |role| {
                let plain = Role::Calls {
                    above: 0,
                    counted: true,
                };
                role == plain
            };
            let effect = match version {
                (3, 11) => Effect::Fixed(-1),
                _ => Effect::Linear(-1, -1),
            };
            let call = number(version, is_call, effect);
            let mut code = vec![(global, 2 << 1 | 1), (global, 1 << 1 | 1), (local, 0)];
            let prepare = |count| match version {
                (3, 11) => vec![(166, count)],
                _ => vec![],
            };
            code.extend(prepare(1));
            code.push((call, 1));
            code.push((local, 0));
            code.extend(prepare(2));
            code.push((call, 2));
            let bytes = units(version, &code);
            let adaptive = Adaptive::of(version);
            let calls = adaptive.calls(&bytes);
            let found: Vec<_> = calls.instructions.iter().map(|c| c.callee).collect();
            let name = |index| Some(Symbol::Name(index));
            assert_eq!(found, [name(1), name(2)], "{version:?}");
            let last = calls.instructions[1];
            let stands = match version {
                (3, 11 | 12) => u32::try_from(bytes.len()).unwrap() - UNIT,
                _ => last.offset,
            };
            assert_eq!(last.stands, stands, "{version:?}");
            assert_eq!(calls.instruction(last.stands), last.offset);
            let noted = (version >= (3, 12)).then_some(Cache::Version { general: call });
            assert_eq!(last.cache, noted, "{version:?}");
            assert!(calls.is_straight(calls.instructions[0].stands, last.offset));
            // Jumped to in between, nobody knows by whom it was loaded.
            let jump = number(
                version,
                |role| role == Role::Jumps(Way::Backward),
                Effect::Fixed(0),
            );
            let caches = usize::from(adaptive.rows[usize::from(jump)].unwrap().caches);
            let behind = bytes.len() + 2 + 2 * caches;
            let target = usize::try_from(last.offset).unwrap();
            let back = u8::try_from((behind - target) / 2).unwrap();
            code.push((jump, back));
            let calls = adaptive.calls(&units(version, &code));
            let found: Vec<_> = calls.instructions.iter().map(|c| c.callee).collect();
            assert_eq!(found, [name(1), None], "{version:?}");
        }
    }

    /// `g(a or b)` and `g(a if c else b)`: whichever way its argument was come to, `g` lies
    /// below it. Where a jump leads around what loads `g`, nobody knows what does.
    #[test]
    fn arguments_may_branch() {
        for version in ALL {
            let role = |wanted: Role, effect| number(version, |role| role == wanted, effect);
            let global = role(Role::LoadsName { shift: 1 }, Effect::LowBit(1, 1));
            let local = role(Role::LoadsLocal, Effect::Fixed(1));
            let pop = role(Role::Quiet, Effect::Fixed(-1));
            let copy = role(Role::Quiet, Effect::Fixed(1));
            let branch = role(Role::Branches(Way::Forward), Effect::Fixed(-1));
            let jump = role(Role::Jumps(Way::Forward), Effect::Fixed(0));
            let calls = Role::Calls {
                above: 0,
                counted: true,
            };
            let call = match version {
                (3, 11) => vec![(166, 1), (role(calls, Effect::Fixed(-1)), 1)],
                _ => vec![(role(calls, Effect::Linear(-1, -1)), 1)],
            };
            let g = (global, 1 << 1 | 1);
            let len = |code: &[(u8, u8)]| u8::try_from(units(version, code).len() / 2).unwrap();
            let over = |code: &[(u8, u8)]| (branch, len(code));
            let found = |code: &[&[(u8, u8)]]| {
                let code = [code.concat(), call.clone()].concat();
                let calls = Adaptive::of(version).calls(&units(version, &code));
                calls.instructions.last().unwrap().callee
            };
            let (a, b) = ((local, 0), (local, 1));
            let other = [(pop, 0), b];
            let named = Some(Symbol::Name(1));
            let either = found(&[&[g, a, (copy, 1), over(&other)], &other]);
            assert_eq!(either, named, "{version:?}");
            let chosen = [a, (jump, len(&[b]))];
            let either = found(&[&[g, b, over(&chosen)], &chosen, &[b]]);
            assert_eq!(either, named, "{version:?}");
            let around = [g, a];
            let either = found(&[&[b, over(&around)], &around]);
            assert_eq!(either, None, "{version:?}");
        }
    }

    /// Bytes that are no bytecode end in calls of nobody knows what, or none, not
    /// in a panic; nor does a version that is not known.
    #[test]
    fn any_bytes_will_do() {
        let mut random: u32 = 1;
        let mut byte = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random.to_le_bytes()[3]
        };
        for version in ALL.into_iter().chain([(3, 99)]) {
            let adaptive = Adaptive::of(version);
            for len in (0..2_000).map(|turn| turn % 61) {
                let code: Vec<u8> = (0..len).map(|_| byte()).collect();
                adaptive.calls(&code);
            }
        }
    }
}
