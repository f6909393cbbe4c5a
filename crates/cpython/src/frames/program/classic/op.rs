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
