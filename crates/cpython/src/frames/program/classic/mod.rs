//! The bytecode of 2.7 to 3.10.
//!
//! A straight walk over the instructions keeps a symbolic value stack: where
//! each value was loaded from, or nothing. What is not understood empties the
//! symbols, so a name that is given is the one the compiler put there
//! (`Python/compile.c`, `Python/ceval.c`, 2.7 to 3.10).

mod callers;
pub(in crate::frames) mod op;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::HashSet;

use self::walk::{Value, Walk};
use super::calls::{CallInstruction, Calls, Symbol};
use super::operators::methods;

/// How a version writes instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::frames::program) enum Dialect {
    /// 2.7: one byte, or three with an argument.
    Bytes,
    /// From 3.6 on: two bytes each. Jumps count in units of this many bytes.
    Words {
        /// 2 in 3.10, 1 before.
        jump_unit: u32,
    },
}

impl Calls {
    /// Those of bytecode to 3.10.
    pub(in crate::frames::program) fn of(code: &[u8], dialect: Dialect) -> Self {
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
                    cache: None,
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
