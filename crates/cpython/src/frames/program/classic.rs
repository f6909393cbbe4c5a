//! The bytecode of 2.7 to 3.10.
//!
//! A straight walk over the instructions keeps a symbolic value stack: where
//! each value was loaded from, or nothing. What is not understood empties the
//! symbols, so a name that is given is the one the compiler put there
//! (`Python/compile.c`, `Python/ceval.c`, 2.7 to 3.10).

use std::collections::{HashMap, HashSet};

use firefinch_memory::RemoteAddr;

use super::calls::{CallInstruction, Calls, Symbol};
use super::operators::{is_method, methods};
use super::{Callee, Code};

/// How a version writes instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// 2.7: one byte, or three with an argument.
    Bytes,
    /// From 3.6 on: two bytes each. Jumps count in units of this many bytes.
    Words {
        /// 2 in 3.10, 1 before.
        jump_unit: u32,
    },
}

/// A value on the stack, where it is plain to see what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Loaded(Symbol),
    /// What a call of that returned.
    Made(Symbol),
}

impl Calls {
    /// Those of bytecode to 3.10.
    pub(super) fn of(code: &[u8], dialect: Dialect) -> Self {
        let instructions = decode(code, dialect);
        let mut calls = Self::default();
        for instruction in &instructions {
            calls.labels.extend(instruction.targets(dialect));
            if is_quiet(instruction.op) {
                calls.quiet.insert(instruction.start);
            } else if let Some(methods) = methods(instruction.op, instruction.arg, dialect) {
                calls.operators.push((instruction.start, methods));
            }
        }
        let mut walk = Walk::default();
        for instruction in &instructions {
            if calls.labels.contains(&instruction.start) {
                walk.join(instruction.start);
            }
            if let Some(callee) = walk.step(*instruction, dialect) {
                calls.instructions.push(CallInstruction {
                    offset: instruction.start,
                    stands: instruction.start,
                    callee,
                    is_load: instruction.op == op::LOAD_ATTR,
                    resumes: matches!(instruction.op, op::FOR_ITER | op::YIELD_FROM),
                });
            }
        }
        // A variable that only ever holds what one name says is as good as that name.
        for call in &mut calls.instructions {
            if let Some(Symbol::Local(local)) = call.callee
                && let Some(Some(Value::Loaded(symbol))) = walk.variables.get(&local)
            {
                call.callee = Some(*symbol);
            }
        }
        // What is called by the same name is a method, not a property.
        let called = calls.instructions.iter().filter(|call| !call.is_load);
        let methods: HashSet<_> = called.filter_map(|call| call.callee).collect();
        calls.instructions.retain(|call| {
            !call.is_load || !call.callee.is_some_and(|name| methods.contains(&name))
        });
        calls
    }
}

impl Code {
    /// Where it stands while it calls `callee`, which is `to`, by a name that is
    /// no other thing's: a variable may hold any function, and an attribute need
    /// not be a property.
    pub(in crate::frames) fn surely_calls_to<'a>(
        &'a self,
        callee: RemoteAddr,
        to: &'a Self,
    ) -> impl Iterator<Item = u32> + 'a {
        let places = self.calls_to(callee, to);
        let places = places.filter(|place| self.calls_surely(*place));
        places.chain(self.consumers(callee, to))
    }

    /// Where it calls what goes through a generator expression that it has just made:
    /// the next call, as in `sum(x for x in y)`.
    fn consumers<'a>(&'a self, made: RemoteAddr, of: &'a Self) -> impl Iterator<Item = u32> + 'a {
        // Nobody looks through all of the calls of others for one.
        let count = if of.is_generator { usize::MAX } else { 0 };
        let calls = self.calls.instructions.iter().zip(&self.sites);
        let mut calls = calls
            .filter(|(call, _)| !call.is_load)
            .take(count)
            .peekable();
        std::iter::from_fn(move || {
            while let Some((_, site)) = calls.next() {
                let is_made = site.callee == Callee::Code(made);
                if let Some((next, _)) = calls.peek()
                    && is_made
                    && !site.resumes
                    && !next.resumes
                {
                    return Some(next.offset);
                }
            }
            None
        })
    }

    /// Whether the instruction at `offset` does.
    pub(in crate::frames) fn consumes(&self, offset: u32, made: RemoteAddr, of: &Self) -> bool {
        self.consumers(made, of).any(|place| place == offset)
    }

    /// Whether the instruction at `offset` calls certain methods only, and `to` is none.
    pub(in crate::frames) fn never_calls(&self, offset: u32, to: &Self) -> bool {
        let operators = &self.calls.operators;
        let index = operators.binary_search_by_key(&offset, |(at, _)| *at);
        let operator = index.ok().and_then(|index| operators.get(index));
        operator.is_some_and(|(_, methods)| !methods.contains(&&*to.name))
    }

    /// Where it may call `to`, if that is a method which is called for what is done with
    /// its object: by an operator, or if there is none of its kind, out of C code, unless
    /// `is_other` says that something else is called there.
    pub(in crate::frames) fn operates_on(
        &self,
        to: &Self,
        is_other: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        if !is_method(&to.name) {
            return Vec::new();
        }
        let operators = self.calls.operators.iter();
        let operators = operators.filter(|(_, methods)| methods.contains(&&*to.name));
        let operators: Vec<_> = operators.map(|(at, _)| *at).collect();
        if !operators.is_empty() {
            return operators;
        }
        let calls = self.calls.instructions.iter();
        let calls = calls.filter(|call| !call.is_load && !call.resumes);
        calls
            .map(|call| call.offset)
            .filter(|at| !is_other(*at))
            .collect()
    }

    /// Whether `to` is a method that the instruction at `offset` never calls, nor C code
    /// for it.
    pub(in crate::frames) fn never_operates(&self, offset: u32, to: &Self) -> bool {
        is_method(&to.name) && (self.is_quiet(offset) || self.never_calls(offset, to))
    }

    /// Whether the instruction at `offset` calls what its name says, if it has one,
    /// and nothing else.
    pub(in crate::frames) fn calls_surely(&self, offset: u32) -> bool {
        let calls = &self.calls.instructions;
        let index = calls.binary_search_by_key(&offset, |call| call.offset);
        let call = index.ok().and_then(|index| calls.get(index));
        call.is_some_and(|call| {
            !call.is_load && !matches!(call.callee, Some(Symbol::Local(_) | Symbol::Cell(_)))
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Instruction {
    /// Where it starts, with its prefixes: `f_lasti` stays there, as a prefix
    /// does not go through the head of the loop.
    start: u32,
    /// Where the next one starts.
    end: u32,
    op: u8,
    arg: u32,
}

pub(in crate::frames) mod op {
    //! Numbers from `Include/opcode.h`, the same from 2.7 to 3.10 unless said.
    pub(in crate::frames) const POP_TOP: u8 = 1;
    pub(in crate::frames) const ROT_TWO: u8 = 2;
    pub(in crate::frames) const ROT_THREE: u8 = 3;
    pub(in crate::frames) const DUP_TOP: u8 = 4;
    pub(in crate::frames) const NOP: u8 = 9;
    pub(in crate::frames) const UNARY_FIRST: u8 = 10;
    pub(in crate::frames) const UNARY_LAST: u8 = 15;
    pub(in crate::frames) const BINARY_FIRST: u8 = 16;
    pub(in crate::frames) const BINARY_LAST: u8 = 29;
    pub(in crate::frames) const INPLACE_ADD: u8 = 55;
    pub(in crate::frames) const INPLACE_MODULO: u8 = 59;
    pub(in crate::frames) const STORE_SUBSCR: u8 = 60;
    pub(in crate::frames) const BINARY_LSHIFT: u8 = 62;
    pub(in crate::frames) const INPLACE_POWER: u8 = 67;
    pub(in crate::frames) const GET_ITER: u8 = 68;
    /// From 3.6 on; in 2.7 print instructions are from 71 on.
    pub(in crate::frames) const GET_YIELD_FROM_ITER: u8 = 69;
    pub(in crate::frames) const YIELD_FROM: u8 = 72;
    pub(in crate::frames) const GET_AWAITABLE: u8 = 73;
    pub(in crate::frames) const INPLACE_LSHIFT: u8 = 75;
    pub(in crate::frames) const INPLACE_OR: u8 = 79;
    pub(in crate::frames) const RETURN_VALUE: u8 = 83;
    pub(in crate::frames) const POP_BLOCK: u8 = 87;
    pub(in crate::frames) const HAVE_ARGUMENT: u8 = 90;
    pub(in crate::frames) const STORE_NAME: u8 = 90;
    pub(in crate::frames) const FOR_ITER: u8 = 93;
    pub(in crate::frames) const STORE_ATTR: u8 = 95;
    pub(in crate::frames) const STORE_GLOBAL: u8 = 97;
    pub(in crate::frames) const LOAD_CONST: u8 = 100;
    pub(in crate::frames) const LOAD_NAME: u8 = 101;
    pub(in crate::frames) const BUILD_TUPLE: u8 = 102;
    pub(in crate::frames) const BUILD_SET: u8 = 104;
    pub(in crate::frames) const BUILD_MAP: u8 = 105;
    pub(in crate::frames) const LOAD_ATTR: u8 = 106;
    pub(in crate::frames) const COMPARE_OP: u8 = 107;
    pub(in crate::frames) const JUMP_FORWARD: u8 = 110;
    pub(in crate::frames) const JUMP_IF_FALSE_OR_POP: u8 = 111;
    pub(in crate::frames) const JUMP_IF_TRUE_OR_POP: u8 = 112;
    pub(in crate::frames) const JUMP_ABSOLUTE: u8 = 113;
    pub(in crate::frames) const POP_JUMP_IF_FALSE: u8 = 114;
    pub(in crate::frames) const POP_JUMP_IF_TRUE: u8 = 115;
    pub(in crate::frames) const LOAD_GLOBAL: u8 = 116;
    /// From 3.9 on.
    pub(in crate::frames) const IS_OP: u8 = 117;
    pub(in crate::frames) const CONTAINS_OP: u8 = 118;
    pub(in crate::frames) const CONTINUE_LOOP: u8 = 119;
    pub(in crate::frames) const SETUP_LOOP: u8 = 120;
    /// SETUP_EXCEPT, a relative jump, to 3.7; JUMP_IF_NOT_EXC_MATCH, an
    /// absolute one, from 3.9 on.
    pub(in crate::frames) const EXCEPT: u8 = 121;
    pub(in crate::frames) const SETUP_FINALLY: u8 = 122;
    pub(in crate::frames) const LOAD_FAST: u8 = 124;
    pub(in crate::frames) const STORE_FAST: u8 = 125;
    pub(in crate::frames) const DELETE_FAST: u8 = 126;
    pub(in crate::frames) const CALL_FUNCTION: u8 = 131;
    pub(in crate::frames) const MAKE_FUNCTION: u8 = 132;
    pub(in crate::frames) const BUILD_SLICE: u8 = 133;
    /// 2.7 only.
    pub(in crate::frames) const MAKE_CLOSURE: u8 = 134;
    pub(in crate::frames) const LOAD_CLOSURE: u8 = 135;
    pub(in crate::frames) const LOAD_DEREF: u8 = 136;
    pub(in crate::frames) const STORE_DEREF: u8 = 137;
    /// 2.7 only.
    pub(in crate::frames) const CALL_FUNCTION_VAR: u8 = 140;
    pub(in crate::frames) const CALL_FUNCTION_KW: u8 = 141;
    /// CALL_FUNCTION_VAR_KW in 2.7.
    pub(in crate::frames) const CALL_FUNCTION_EX: u8 = 142;
    pub(in crate::frames) const SETUP_WITH: u8 = 143;
    /// LIST_APPEND from 3.6 on.
    pub(in crate::frames) const EXTENDED_ARG_BYTES: u8 = 145;
    pub(in crate::frames) const EXTENDED_ARG_WORDS: u8 = 144;
    pub(in crate::frames) const SETUP_ASYNC_WITH: u8 = 154;
    pub(in crate::frames) const FORMAT_VALUE: u8 = 155;
    pub(in crate::frames) const BUILD_CONST_KEY_MAP: u8 = 156;
    pub(in crate::frames) const BUILD_STRING: u8 = 157;
    /// From 3.7 on.
    pub(in crate::frames) const LOAD_METHOD: u8 = 160;
    pub(in crate::frames) const CALL_METHOD: u8 = 161;
    /// CALL_FINALLY, a relative jump, in 3.8; LIST_EXTEND from 3.9 on.
    pub(in crate::frames) const CALL_FINALLY: u8 = 162;
}

/// Instructions during which no Python code is run, except when an object dies
/// or a signal is handled.
fn is_quiet(op: u8) -> bool {
    use op::*;
    matches!(
        op,
        POP_TOP
            | ROT_TWO
            | ROT_THREE
            | DUP_TOP
            | NOP
            | RETURN_VALUE
            | POP_BLOCK
            | STORE_NAME
            | LOAD_CONST
            | LOAD_NAME
            | LOAD_GLOBAL
            | STORE_GLOBAL
            | BUILD_TUPLE
            | JUMP_FORWARD
            | JUMP_ABSOLUTE
            | IS_OP
            | CONTINUE_LOOP
            | SETUP_LOOP
            | SETUP_FINALLY
            | LOAD_FAST..=DELETE_FAST
            | MAKE_FUNCTION..=STORE_DEREF
    )
}

fn decode(code: &[u8], dialect: Dialect) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut at = 0;
    let mut prefix: Option<(u32, u32)> = None;
    while let Some(&number) = code.get(at) {
        let byte = |index: usize| code.get(index).copied().map(u32::from);
        let (len, bits, arg) = match dialect {
            Dialect::Words { .. } => (2, 8, byte(at + 1)),
            Dialect::Bytes if number < op::HAVE_ARGUMENT => (1, 16, Some(0)),
            Dialect::Bytes => {
                let arg = byte(at + 1).zip(byte(at + 2)).map(|(l, h)| l | h << 8);
                (3, 16, arg)
            }
        };
        let (Some(arg), Ok(here), Ok(end)) = (arg, u32::try_from(at), u32::try_from(at + len))
        else {
            break;
        };
        let (start, high) = prefix.take().unwrap_or((here, 0));
        let arg = high.checked_shl(bits).unwrap_or(0) | arg;
        let extends = match dialect {
            Dialect::Bytes => op::EXTENDED_ARG_BYTES,
            Dialect::Words { .. } => op::EXTENDED_ARG_WORDS,
        };
        if number == extends {
            prefix = Some((start, arg));
        } else {
            instructions.push(Instruction {
                start,
                end,
                op: number,
                arg,
            });
        }
        at += len;
    }
    instructions
}

impl Instruction {
    /// Where it may jump to, or where a block that it sets up is left to. One
    /// label too many does no harm.
    fn targets(&self, dialect: Dialect) -> impl Iterator<Item = u32> {
        use op::*;
        let unit = match dialect {
            Dialect::Bytes => 1,
            Dialect::Words { jump_unit } => jump_unit,
        };
        let distance = self.arg.saturating_mul(unit);
        let relative = matches!(
            self.op,
            FOR_ITER
                | JUMP_FORWARD
                | SETUP_LOOP
                | EXCEPT
                | SETUP_FINALLY
                | SETUP_WITH
                | SETUP_ASYNC_WITH
                | CALL_FINALLY
        );
        let absolute = matches!(
            self.op,
            JUMP_IF_FALSE_OR_POP..=POP_JUMP_IF_TRUE | CONTINUE_LOOP | EXCEPT
        );
        let relative = relative.then(|| self.end.saturating_add(distance));
        relative.into_iter().chain(absolute.then_some(distance))
    }
}

/// The symbolic value stack, newest last. What lies below it is not known.
type Stack = Vec<Option<Value>>;

/// The newest values that a jump brings along: to 3.6 the language has no more
/// arguments in a call (`ast_for_call`, `Python/ast.c`).
const MAX_BROUGHT: usize = 256;
/// What all jumps bring that have not arrived yet; a jump more brings nothing that
/// is known.
const MAX_ALL_BROUGHT: usize = 1 << 20;

#[derive(Debug, Default)]
struct Walk {
    /// `None` behind an instruction that does not go on to the next.
    stack: Option<Stack>,
    /// What jumps ahead bring along.
    joins: HashMap<u32, Stack>,
    /// The values in them.
    brought: usize,
    /// What is stored in local variables, if the same each time.
    variables: HashMap<u32, Option<Value>>,
    begun: bool,
}

/// What an instruction takes from the stack and leaves there.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Takes so many, leaves these.
    Replace(u32, Option<Option<Value>>),
    /// Calls what lies below so many values.
    Call(u32),
    /// Not understood.
    Unknown,
}

impl Walk {
    /// Arrives at a label: what jumps brought and what comes from above must agree.
    fn join(&mut self, at: u32) {
        let jumped = self.joins.remove(&at);
        self.brought -= jumped.as_ref().map_or(0, Stack::len);
        self.stack = match (self.stack.take(), jumped) {
            (Some(above), Some(jumped)) => Some(merge(&above, &jumped)),
            (Some(above), None) if self.begun => Some(above),
            (None, Some(jumped)) => Some(jumped),
            _ => Some(Stack::new()),
        };
    }

    /// Jumps from the instruction before `end`. Back to what was passed it brings nothing.
    fn jump(&mut self, end: u32, target: u32, stack: &[Option<Value>]) {
        if target < end {
            return;
        }
        let known = stack.len().saturating_sub(MAX_BROUGHT);
        let stack = stack.get(known..).unwrap_or_default();
        let other = self.joins.get(&target);
        let before = other.map_or(0, Stack::len);
        let mut merged = match other {
            Some(other) => merge(other, stack),
            None => stack.to_vec(),
        };
        if self.brought - before + merged.len() > MAX_ALL_BROUGHT {
            merged = Stack::new();
        }
        self.brought = self.brought - before + merged.len();
        self.joins.insert(target, merged);
    }

    /// Passes one instruction; whom it calls if it does or may.
    fn step(&mut self, instruction: Instruction, dialect: Dialect) -> Option<Option<Symbol>> {
        use op::*;
        self.begun = true;
        let mut stack = self.stack.take().unwrap_or_default();
        let mut called = None;
        let target = instruction.targets(dialect).next();
        if instruction.op == LOAD_ATTR {
            // A property has the name of its function.
            called = Some(Some(Symbol::Name(instruction.arg)));
        }
        if instruction.op == STORE_FAST {
            let value = stack.last().copied().flatten();
            let stored = self.variables.entry(instruction.arg).or_insert(value);
            *stored = stored.filter(|_| *stored == value);
        }
        match (instruction.op, target) {
            (JUMP_FORWARD | JUMP_ABSOLUTE, Some(target)) => {
                self.jump(instruction.end, target, &stack);
                return None;
            }
            (RETURN_VALUE, _) => return None,
            (POP_JUMP_IF_FALSE | POP_JUMP_IF_TRUE, Some(target)) => {
                stack.pop();
                self.jump(instruction.end, target, &stack);
            }
            (JUMP_IF_FALSE_OR_POP | JUMP_IF_TRUE_OR_POP, Some(target)) => {
                self.jump(instruction.end, target, &stack);
                stack.pop();
            }
            (FOR_ITER, Some(target)) => {
                called = maker(&stack);
                let iterator = stack.pop();
                self.jump(instruction.end, target, &stack);
                stack.extend(iterator);
                stack.push(None);
            }
            // It stays what it is.
            (GET_ITER, _) => {}
            (GET_YIELD_FROM_ITER | GET_AWAITABLE, _) if dialect != Dialect::Bytes => {}
            (YIELD_FROM, _) if dialect != Dialect::Bytes => {
                stack.pop();
                called = maker(&stack);
                stack.pop();
                stack.push(None);
            }
            (ROT_TWO, _) => rotate(&mut stack, 2),
            (ROT_THREE, _) => rotate(&mut stack, 3),
            (DUP_TOP, _) => stack.push(stack.last().copied().flatten()),
            (LOAD_METHOD, _) => {
                // The function and the object, or nothing and the callable.
                stack.pop();
                stack.extend([Some(Value::Loaded(Symbol::Name(instruction.arg))), None]);
            }
            (MAKE_FUNCTION | MAKE_CLOSURE, _) => make_function(&mut stack, instruction, dialect),
            _ => match effect(instruction, dialect) {
                Effect::Replace(taken, left) => {
                    take(&mut stack, taken);
                    stack.extend(left);
                }
                Effect::Call(above) => {
                    take(&mut stack, above);
                    let callee = match stack.pop().flatten() {
                        Some(Value::Loaded(symbol)) => Some(symbol),
                        Some(Value::Made(_)) | None => None,
                    };
                    called = Some(callee);
                    stack.push(callee.map(Value::Made));
                }
                Effect::Unknown => stack.clear(),
            },
        }
        self.stack = Some(stack);
        called
    }
}

/// By a call of what the newest value was made, if by one.
fn maker(stack: &Stack) -> Option<Option<Symbol>> {
    match stack.last().copied().flatten() {
        Some(Value::Made(symbol)) => Some(Some(symbol)),
        Some(Value::Loaded(_)) | None => None,
    }
}

fn take(stack: &mut Stack, count: u32) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    stack.truncate(stack.len().saturating_sub(count));
}

fn rotate(stack: &mut Stack, count: usize) {
    match stack.len().checked_sub(count) {
        Some(from) => stack[from..].rotate_right(1),
        None => stack.clear(),
    }
}

/// Aligned at the newest value; what differs is not known.
fn merge(one: &[Option<Value>], two: &[Option<Value>]) -> Stack {
    let pairs = one.iter().rev().zip(two.iter().rev());
    let mut merged: Stack = pairs.map(|(a, b)| if a == b { *a } else { None }).collect();
    merged.reverse();
    merged
}

/// A function that is made of a code object among the constants.
fn make_function(stack: &mut Stack, instruction: Instruction, dialect: Dialect) {
    let arg = instruction.arg;
    let extras = match dialect {
        Dialect::Words { .. } => {
            // The qualified name lies above the code object.
            stack.pop();
            (arg & 0xf).count_ones()
        }
        Dialect::Bytes => arg.saturating_add(u32::from(instruction.op == op::MAKE_CLOSURE)),
    };
    let code = stack.pop().flatten();
    take(stack, extras);
    stack.push(code);
}

fn effect(instruction: Instruction, dialect: Dialect) -> Effect {
    use op::*;
    let arg = instruction.arg;
    let is_bytes = dialect == Dialect::Bytes;
    // 2.7 counts positional arguments in the low byte and pairs of keyword and
    // value in the next (`call_function`, `Python/ceval.c`).
    let arguments = match dialect {
        Dialect::Bytes => (arg & 0xff) + 2 * (arg >> 8 & 0xff),
        Dialect::Words { .. } => arg,
    };
    let unknown = Some(None);
    let known = |symbol| Effect::Replace(0, Some(Some(Value::Loaded(symbol))));
    match instruction.op {
        NOP | POP_BLOCK | SETUP_LOOP | DELETE_FAST => Effect::Replace(0, None),
        POP_TOP | STORE_FAST | STORE_NAME | STORE_GLOBAL | STORE_DEREF => Effect::Replace(1, None),
        STORE_ATTR => Effect::Replace(2, None),
        STORE_SUBSCR => Effect::Replace(3, None),
        LOAD_CONST => known(Symbol::Code(arg)),
        LOAD_NAME | LOAD_GLOBAL => known(Symbol::Name(arg)),
        LOAD_FAST => known(Symbol::Local(arg)),
        LOAD_DEREF => known(Symbol::Cell(arg)),
        LOAD_CLOSURE => Effect::Replace(0, unknown),
        LOAD_ATTR => Effect::Replace(1, Some(Some(Value::Loaded(Symbol::Name(arg))))),
        UNARY_FIRST..=UNARY_LAST => Effect::Replace(1, unknown),
        BINARY_FIRST..=BINARY_LAST
        | INPLACE_ADD..=INPLACE_MODULO
        | BINARY_LSHIFT..=INPLACE_POWER
        | INPLACE_LSHIFT..=INPLACE_OR
        | COMPARE_OP
        | IS_OP
        | CONTAINS_OP => Effect::Replace(2, unknown),
        BUILD_TUPLE..=BUILD_SET | BUILD_SLICE | BUILD_STRING => Effect::Replace(arg, unknown),
        // 2.7 fills the dict afterwards.
        BUILD_MAP if is_bytes => Effect::Replace(0, unknown),
        BUILD_MAP => Effect::Replace(arg.saturating_mul(2), unknown),
        BUILD_CONST_KEY_MAP => Effect::Replace(arg.saturating_add(1), unknown),
        FORMAT_VALUE => Effect::Replace(1 + u32::from(arg & 4 == 4), unknown),
        CALL_FUNCTION => Effect::Call(arguments),
        CALL_FUNCTION_KW => Effect::Call(arguments.saturating_add(1)),
        CALL_FUNCTION_VAR if is_bytes => Effect::Call(arguments.saturating_add(1)),
        CALL_FUNCTION_EX if is_bytes => Effect::Call(arguments.saturating_add(2)),
        CALL_FUNCTION_EX => Effect::Call(1 + (arg & 1)),
        CALL_METHOD => Effect::Call(arg.saturating_add(1)),
        _ => Effect::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::op::*;
    use super::*;

    const WORDS: Dialect = Dialect::Words { jump_unit: 1 };

    fn callees(code: &[u8], dialect: Dialect) -> Vec<(u32, Option<Symbol>)> {
        let calls = Calls::of(code, dialect).instructions;
        calls
            .iter()
            .map(|call| (call.offset, call.callee))
            .collect()
    }

    /// `h(a if c else b, f(x), o.m(1))`: each call finds its callee below its
    /// arguments, a choice among them or not.
    #[test]
    fn callees_lie_below_their_arguments() {
        let code = [
            [LOAD_GLOBAL, 0],
            [LOAD_FAST, 0],
            [POP_JUMP_IF_FALSE, 10],
            [LOAD_FAST, 1],
            [JUMP_FORWARD, 2],
            [LOAD_FAST, 2],
            [LOAD_GLOBAL, 1],
            [LOAD_FAST, 3],
            [CALL_FUNCTION, 1],
            [LOAD_FAST, 4],
            [LOAD_METHOD, 2],
            [LOAD_CONST, 0],
            [CALL_METHOD, 1],
            [CALL_FUNCTION, 3],
            [RETURN_VALUE, 0],
        ]
        .concat();
        let name = |index| Some(Symbol::Name(index));
        let expected = [(16, name(1)), (24, name(2)), (26, name(0))];
        assert_eq!(callees(&code, WORDS), expected);
        let calls = Calls::of(&code, WORDS);
        assert!(calls.is_straight(16, 26));
        assert!(!calls.is_straight(4, 16));
        assert!(!calls.is_straight(26, 16));
    }

    /// `o.p + o.m()` as 2.7 and 3.6 have it: loading `p` may run a property,
    /// loading `m` does not.
    #[test]
    fn properties_are_calls() {
        let code = [
            [LOAD_FAST, 0],
            [LOAD_ATTR, 5],
            [LOAD_FAST, 0],
            [LOAD_ATTR, 6],
            [CALL_FUNCTION, 0],
            [BINARY_FIRST + 7, 0],
        ];
        let name = |index| Some(Symbol::Name(index));
        assert_eq!(callees(&code.concat(), WORDS), [(2, name(5)), (8, name(6))]);
    }

    /// `f = o.m`, then `f()`, calls `m`; a variable that holds one thing or another
    /// is itself all that is known.
    #[test]
    fn variables_are_what_they_hold() {
        let code = [
            [LOAD_FAST, 0],
            [LOAD_ATTR, 5],
            [STORE_FAST, 1],
            [LOAD_FAST, 1],
            [CALL_FUNCTION, 0],
            [STORE_FAST, 2],
            [LOAD_GLOBAL, 6],
            [STORE_FAST, 2],
            [LOAD_FAST, 2],
            [CALL_FUNCTION, 0],
        ];
        let expected = [(8, Some(Symbol::Name(5))), (18, Some(Symbol::Local(2)))];
        assert_eq!(callees(&code.concat(), WORDS), expected);
    }

    /// Calls in 2.7, with keywords in the high byte of the argument.
    #[test]
    fn callees_in_the_old_dialect() {
        let mut code = vec![LOAD_GLOBAL, 7, 0, LOAD_CONST, 0, 0];
        code.extend([LOAD_CONST, 1, 0, LOAD_CONST, 2, 0]);
        code.extend([CALL_FUNCTION, 1, 1, POP_TOP]);
        let expected = [(12, Some(Symbol::Name(7)))];
        assert_eq!(callees(&code, Dialect::Bytes), expected);
    }

    /// `for x in g(): yield from h()`: the loop asks what `g` made, the other
    /// what `h` made; a loop over a variable asks nobody knows whom.
    #[test]
    fn generators_are_asked_where_they_are_gone_through() {
        let code = [
            [LOAD_GLOBAL, 1],
            [CALL_FUNCTION, 0],
            [GET_ITER, 0],
            [FOR_ITER, 16],
            [STORE_FAST, 0],
            [LOAD_GLOBAL, 2],
            [CALL_FUNCTION, 0],
            [GET_YIELD_FROM_ITER, 0],
            [LOAD_CONST, 0],
            [YIELD_FROM, 0],
            [POP_TOP, 0],
            [JUMP_ABSOLUTE, 6],
            [LOAD_FAST, 0],
            [GET_ITER, 0],
            [FOR_ITER, 4],
            [POP_TOP, 0],
            [JUMP_ABSOLUTE, 28],
        ];
        let name = |index| Some(Symbol::Name(index));
        let calls = Calls::of(&code.concat(), WORDS).instructions;
        let found: Vec<_> = calls
            .iter()
            .map(|call| (call.offset, call.callee, call.resumes))
            .collect();
        let expected = [
            (2, name(1), false),
            (6, name(1), true),
            (12, name(2), false),
            (18, name(2), true),
        ];
        assert_eq!(found, expected);
    }

    /// A prefix belongs to its instruction, and an instruction that is not
    /// understood hides what is below it.
    #[test]
    fn prefixes_and_unknown_instructions() {
        let long = [
            [EXTENDED_ARG_WORDS, 1],
            [LOAD_GLOBAL, 2],
            [EXTENDED_ARG_WORDS, 0],
            [CALL_FUNCTION, 0],
        ];
        let expected = [(4, Some(Symbol::Name(258)))];
        assert_eq!(callees(&long.concat(), WORDS), expected);
        let hidden = [[LOAD_GLOBAL, 0], [255, 0], [CALL_FUNCTION, 0]];
        assert_eq!(callees(&hidden.concat(), WORDS), [(4, None)]);
    }

    /// However deep the stack is and however many jumps lead to places of their own,
    /// what they bring along takes some megabytes at most; `f(a or b)` before them is
    /// understood, behind them its callee is not known.
    #[test]
    fn jumps_bring_little() {
        let call = |code: &mut Vec<u8>| {
            let ahead = u32::try_from(code.len() + 14).unwrap().to_be_bytes();
            code.extend([LOAD_GLOBAL, 9, LOAD_FAST, 0]);
            for byte in &ahead[..3] {
                code.extend([EXTENDED_ARG_WORDS, *byte]);
            }
            code.extend([JUMP_IF_TRUE_OR_POP, ahead[3], LOAD_FAST, 1]);
            code.extend([CALL_FUNCTION, 1, POP_TOP, 0]);
        };
        let mut code = Vec::new();
        call(&mut code);
        code.extend([LOAD_FAST, 0].repeat(20_000));
        for index in 0..20_000_u32 {
            let [high, middle, low, last] = (1_000_000 + 2 * index).to_be_bytes();
            for byte in [high, middle, low] {
                code.extend([EXTENDED_ARG_WORDS, byte]);
            }
            code.extend([POP_JUMP_IF_TRUE, last]);
        }
        let mut walk = Walk::default();
        for instruction in decode(&code, WORDS) {
            walk.step(instruction, WORDS);
        }
        let kept = walk.joins.values().map(Stack::len).sum::<usize>();
        assert!(kept > 0 && kept == walk.brought);
        assert!(kept <= MAX_ALL_BROUGHT, "{kept} values");
        call(&mut code);
        let found = callees(&code, WORDS);
        let found: Vec<_> = found.iter().map(|(_, callee)| *callee).collect();
        assert_eq!(found, [Some(Symbol::Name(9)), None]);
    }

    /// Bytes that are no bytecode end in calls of nobody knows what, not in a panic.
    #[test]
    fn any_bytes_will_do() {
        let mut random: u32 = 1;
        let mut byte = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random.to_le_bytes()[3]
        };
        for _ in 0..2_000 {
            let code: Vec<u8> = (0..64).map(|_| byte()).collect();
            for dialect in [WORDS, Dialect::Words { jump_unit: 2 }, Dialect::Bytes] {
                Calls::of(&code, dialect);
            }
        }
    }
}
