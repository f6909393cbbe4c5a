//! A straight walk over instructions, with a symbolic value stack.

use std::collections::HashMap;

use super::{Dialect, Instruction, op};
use crate::frames::program::calls::Symbol;

/// A value on the stack, where it is plain to see what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Loaded(Symbol),
    /// What a call of that returned.
    Made(Symbol),
}

/// The symbolic value stack, newest last. What lies below it is not known.
pub(super) type Stack = Vec<Option<Value>>;

/// The newest values that a jump brings along: to 3.6 the language has no more
/// arguments in a call (`ast_for_call`, `Python/ast.c`).
const MAX_BROUGHT: usize = 256;
/// What all jumps bring that have not arrived yet; a jump more brings nothing that
/// is known.
pub(super) const MAX_ALL_BROUGHT: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Walk {
    /// `None` behind an instruction that does not go on to the next.
    stack: Option<Stack>,
    /// What jumps ahead bring along.
    pub(super) joins: HashMap<u32, Stack>,
    /// The values in them.
    pub(super) brought: usize,
    /// What is stored in local variables, if the same each time.
    pub(super) variables: HashMap<u32, Option<Value>>,
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
    pub(super) fn join(&mut self, at: u32) {
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
    pub(super) fn step(
        &mut self,
        instruction: Instruction,
        dialect: Dialect,
    ) -> Option<Option<Symbol>> {
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
