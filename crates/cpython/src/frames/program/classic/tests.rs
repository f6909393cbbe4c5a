//! Bytecode as compilers have it, and as they never would.

use super::op::*;
use super::walk::{MAX_ALL_BROUGHT, Stack, Walk};
use super::{Dialect, decode};
use crate::frames::program::calls::{Calls, Symbol};

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
