use firefinch_cpython::Version;
use firefinch_native::Symbol;

pub use firefinch_cpython::NativeRole as Role;

/// The roles of the functions at an address, those inlined first, and of the
/// one that is called, in which they all run. `interpreter` is given if they lie
/// in the interpreter's own module.
pub(super) fn roles_of(symbols: &[Symbol], interpreter: Option<Version>) -> (Box<[Role]>, Role) {
    let role = |symbol: &Symbol| match interpreter {
        Some(version) => in_interpreter(symbol, version),
        // The C library's start is never inlined.
        None => match Role::elsewhere(&symbol.name) {
            Role::Startup if symbol.inlined => Role::Other,
            role => role,
        },
    };
    let roles: Box<[Role]> = symbols.iter().map(role).collect();
    // Whatever the loop has been inlined into runs the Python frames.
    let called = match roles.contains(&Role::Loop) {
        true => Role::Loop,
        false => roles.last().copied().unwrap_or_default(),
    };
    (roles, called)
}

fn in_interpreter(symbol: &Symbol, version: Version) -> Role {
    // CPython's headers have inline functions that were macros once:
    // `Py_DECREF`, `_PyObject_VectorcallTstate`, `PyTuple_GET_SIZE`.
    let path = symbol.file.as_deref().unwrap_or_default();
    if symbol.inlined && path.split('/').any(|part| part == "Include") {
        return Role::Machinery;
    }
    match symbol.name.strip_suffix("@plt") {
        None => Role::in_interpreter(&symbol.name, version),
        // What the linker made to call a function stands for that, but runs nothing.
        Some(function) => match Role::in_interpreter(function, version) {
            Role::Loop => Role::Machinery,
            role => role,
        },
    }
}

#[cfg(test)]
mod tests {
    use firefinch_native::NameSource;

    use super::*;

    fn symbol(name: &str, file: &str, inlined: bool) -> Symbol {
        Symbol {
            file: Some(file.into()),
            inlined,
            ..Symbol::named(name.into(), NameSource::DebugInfo)
        }
    }

    /// What is inlined has a role of its own, which does not make one of the function around it, but for the loop.
    #[test]
    fn inlined_functions() {
        let version = Version::from_hex(0x030d_00f0);
        let symbols = [
            symbol("Py_DECREF", "./Include/object.h", true),
            symbol("_PyObject_FastCall", "Objects/call.c", true),
            symbol("list_sort_impl", "Objects/listobject.c", true),
            symbol("list_sort", "Objects/clinic/listobject.c.h", false),
        ];
        let (roles, called) = roles_of(&symbols, version);
        use Role::{Loop, Machinery, Other, Startup};
        assert_eq!(*roles, [Machinery, Machinery, Other, Other]);
        assert_eq!(called, Other);
        assert_eq!(*roles_of(&symbols, None).0, [Other; 4]);
        let symbols = [
            symbol("_PyEval_EvalFrameDefault", "Python/ceval.c", true),
            symbol("_PyEval_Vector", "Python/ceval.c", false),
        ];
        assert_eq!(roles_of(&symbols, version).1, Loop);
        let symbols = [symbol("_start", "start.S", false)];
        assert_eq!(roles_of(&symbols, None).1, Startup);
        assert_eq!(roles_of(&[], version).1, Other);
        let stub = |name: &str| roles_of(&[symbol(name, "", false)], version).1;
        assert_eq!(stub("_PyEval_EvalFrameDefault@plt"), Machinery);
        assert_eq!(stub("PyObject_Call@plt"), Machinery);
        assert_eq!(stub("memcpy@plt"), Other);
    }
}
