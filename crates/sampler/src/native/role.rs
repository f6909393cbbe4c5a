use firefinch_cpython::Version;
use firefinch_native::Symbol;

pub use firefinch_cpython::NativeRole as Role;

/// The role of the function at an address, by the name of the function that was
/// called (the last of [`symbols`](super::NativePlace::symbols)). `interpreter`
/// is given if it lies in the interpreter's own module.
pub(super) fn role_of(symbols: &[Symbol], interpreter: Option<Version>) -> Role {
    let Some(called) = symbols.last() else {
        return Role::Other;
    };
    let Some(version) = interpreter else {
        return Role::elsewhere(&called.name);
    };
    let role = |symbol: &Symbol| Role::in_interpreter(&symbol.name, version);
    // Whatever it has been inlined into runs the Python frames.
    match symbols.iter().any(|symbol| role(symbol) == Role::Loop) {
        true => Role::Loop,
        false => role(called),
    }
}
