//! Which methods an instruction may call without a call being written there, to 3.10.
//!
//! What instructions ask of objects is in `Python/ceval.c`, under which names objects
//! have it in `slotdefs` of `Objects/typeobject.c` (2.7 and 3.6 to 3.10, whose numbers
//! are in `Include/opcode.h`). What C does for an instruction may ask for more: looking
//! for something in a list compares it, in a dict hashes it.

use super::classic::{Dialect, op};

/// Names of methods.
pub(super) type Methods = &'static [&'static str];

const TRUTH: Methods = &["__bool__", "__nonzero__", "__len__"];
const HASHED: Methods = &["__hash__", "__eq__", "__cmp__"];
const NEXT: Methods = &["__next__", "next", "__getitem__", "__len__", "__iter__"];
const CHECK: Methods = &["__subclasscheck__", "__instancecheck__"];
const CONTAINS: Methods = &[
    "__contains__",
    "__eq__",
    "__hash__",
    "__cmp__",
    "__iter__",
    "__next__",
    "next",
    "__getitem__",
];
const TEXT: Methods = &["__format__", "__str__", "__repr__", "__unicode__", "write"];

/// Those that the instruction may call; `None` where it may call anything.
pub(super) fn methods(number: u8, arg: u32, dialect: Dialect) -> Option<Methods> {
    let old = dialect == Dialect::Bytes;
    Some(match number {
        // Copies on the stack, values given, blocks left, lists.
        5 | 6 | 86 | 88 | 89 | 103 | op::BUILD_STRING => &[],
        94 if old => &[],
        71 | 145 if !old => &[],
        10 => &["__pos__"],
        11 => &["__neg__"],
        12 => TRUTH,
        13 if old => &["__repr__"],
        15 => &["__invert__"],
        16 if !old => &["__matmul__", "__rmatmul__"],
        17 if !old => &["__imatmul__", "__matmul__", "__rmatmul__"],
        19 => &["__pow__", "__rpow__", "__coerce__"],
        20 => &["__mul__", "__rmul__", "__index__", "__coerce__"],
        21 if old => &["__div__", "__rdiv__", "__coerce__"],
        // Of a text it is what the text asks for.
        22 => &[
            "__mod__",
            "__rmod__",
            "__str__",
            "__repr__",
            "__getitem__",
            "__int__",
            "__float__",
            "__index__",
            "__missing__",
            "__coerce__",
            "__unicode__",
        ],
        23 => &["__add__", "__radd__", "__coerce__"],
        24 => &["__sub__", "__rsub__", "__hash__", "__eq__", "__coerce__"],
        25 => &[
            "__getitem__",
            "__missing__",
            "__index__",
            "__hash__",
            "__eq__",
            "__cmp__",
            "__class_getitem__",
        ],
        26 => &["__floordiv__", "__rfloordiv__", "__coerce__"],
        27 => &["__truediv__", "__rtruediv__", "__coerce__"],
        28 => &["__ifloordiv__", "__floordiv__", "__rfloordiv__"],
        29 => &["__itruediv__", "__truediv__", "__rtruediv__"],
        30..=33 if old => &["__getslice__", "__getitem__", "__index__", "__len__"],
        40..=43 if old => &[
            "__setslice__",
            "__setitem__",
            "__index__",
            "__len__",
            "__iter__",
            "next",
        ],
        50..=53 if old => &["__delslice__", "__delitem__", "__index__", "__len__"],
        49 if !old => &["__exit__", "__aexit__"],
        54 if old => HASHED,
        // A list takes whatever can be gone through.
        55 => &[
            "__iadd__",
            "__add__",
            "__radd__",
            "__iter__",
            "__next__",
            "next",
            "__coerce__",
        ],
        56 => &[
            "__isub__",
            "__sub__",
            "__rsub__",
            "__hash__",
            "__eq__",
            "__coerce__",
        ],
        57 => &["__imul__", "__mul__", "__rmul__", "__index__", "__coerce__"],
        58 if old => &["__idiv__", "__div__", "__rdiv__", "__coerce__"],
        59 => &[
            "__imod__",
            "__mod__",
            "__rmod__",
            "__str__",
            "__repr__",
            "__getitem__",
            "__coerce__",
        ],
        60 => &[
            "__setitem__",
            "__index__",
            "__hash__",
            "__eq__",
            "__cmp__",
            "__iter__",
            "__next__",
            "next",
        ],
        61 => &["__delitem__", "__index__", "__hash__", "__eq__", "__cmp__"],
        62 => &["__lshift__", "__rlshift__", "__coerce__"],
        63 => &["__rshift__", "__rrshift__", "__coerce__"],
        64 => &["__and__", "__rand__", "__hash__", "__eq__", "__coerce__"],
        65 => &["__xor__", "__rxor__", "__hash__", "__eq__", "__coerce__"],
        66 => &["__or__", "__ror__", "__hash__", "__eq__", "__coerce__"],
        67 => &["__ipow__", "__pow__", "__rpow__"],
        75 => &["__ilshift__", "__lshift__", "__rlshift__"],
        76 => &["__irshift__", "__rshift__", "__rrshift__"],
        77 => &["__iand__", "__and__", "__rand__", "__hash__", "__eq__"],
        78 => &["__ixor__", "__xor__", "__rxor__", "__hash__", "__eq__"],
        79 => &["__ior__", "__or__", "__ror__", "__hash__", "__eq__"],
        op::GET_ITER => &["__iter__"],
        op::GET_YIELD_FROM_ITER if !old => &["__iter__"],
        op::GET_AWAITABLE if !old => &["__await__"],
        71..=74 if old => TEXT,
        // Its successor in 3.9 is an ordinary call.
        81 => &["__exit__", "__aexit__"],
        92 => NEXT,
        94 if !old => NEXT,
        op::FOR_ITER => NEXT,
        op::STORE_ATTR => &["__setattr__", "__set__"],
        96 => &["__delattr__", "__delete__"],
        149..=153 | 162..=165 if !old => &[
            "__iter__",
            "__next__",
            "keys",
            "__getitem__",
            "__len__",
            "__hash__",
            "__eq__",
        ],
        op::BUILD_SET | 146 | 147 => HASHED,
        op::BUILD_MAP | op::BUILD_CONST_KEY_MAP if !old => HASHED,
        op::LOAD_ATTR => &["__getattr__", "__getattribute__", "__get__"],
        op::LOAD_METHOD if !old => &["__getattr__", "__getattribute__", "__get__"],
        op::COMPARE_OP => compared(arg),
        op::CONTAINS_OP if !old => CONTAINS,
        op::EXCEPT if !old => CHECK,
        op::JUMP_IF_FALSE_OR_POP | op::JUMP_IF_TRUE_OR_POP => TRUTH,
        op::POP_JUMP_IF_FALSE | op::POP_JUMP_IF_TRUE => TRUTH,
        op::SETUP_WITH => &["__enter__"],
        op::FORMAT_VALUE if !old => TEXT,
        _ => return None,
    })
}

/// In the order of `cmp_op` (`Lib/opcode.py`), of which 3.9 and later have six only.
fn compared(arg: u32) -> Methods {
    match arg {
        0 => &["__lt__", "__gt__", "__eq__", "__cmp__", "__coerce__"],
        1 => &["__le__", "__ge__", "__eq__", "__cmp__", "__coerce__"],
        2 => &["__eq__", "__hash__", "__cmp__", "__coerce__"],
        3 => &["__ne__", "__eq__", "__hash__", "__cmp__", "__coerce__"],
        4 => &["__gt__", "__lt__", "__eq__", "__cmp__", "__coerce__"],
        5 => &["__ge__", "__le__", "__eq__", "__cmp__", "__coerce__"],
        6 | 7 => CONTAINS,
        10 => CHECK,
        _ => &[],
    }
}

/// Whether that is the name of a method that is called for what is done with its object,
/// and not for what becomes of it.
pub(super) fn is_method(name: &str) -> bool {
    name.len() > 4 && name.starts_with("__") && name.ends_with("__") && name != "__del__"
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Dialect = Dialect::Words { jump_unit: 1 };

    /// An operator calls its own methods and no others, a call anything; numbers that mean
    /// something else in 2.7 have its meaning there.
    #[test]
    fn operators_call_their_methods() {
        for dialect in [Dialect::Bytes, WORDS] {
            let and = methods(64, 0, dialect).unwrap();
            assert!(and.contains(&"__and__") && !and.contains(&"__init__"));
            assert_eq!(methods(op::CALL_FUNCTION, 0, dialect), None);
            assert!(compared(2).contains(&"__eq__") && !compared(2).contains(&"__lt__"));
        }
        let slice = |dialect| methods(30, 0, dialect);
        assert!(slice(Dialect::Bytes).is_some_and(|methods| methods.contains(&"__getslice__")));
        assert_eq!(slice(WORDS), None);
        assert!(is_method("__and__") && !is_method("__del__") && !is_method("____"));
        assert!(!is_method("step"));
    }
}
