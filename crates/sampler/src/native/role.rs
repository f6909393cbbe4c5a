use firefinch_native::Symbol;

/// What a native function is to a Python stack. By the name of the function
/// that was called (the last of [`symbols`](super::NativePlace::symbols)), and
/// only in the interpreter's own module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// The evaluation loop: Python frames run in it.
    Loop,
    /// What lies between two loops: calls, vectorcall, descriptors.
    Machinery,
    /// What lies below the oldest loop: `main`, `Py_RunMain`, thread start.
    Startup,
    /// Anything else.
    #[default]
    Other,
}

impl Role {
    /// The role of the function at an address.
    pub(super) fn of(symbols: &[Symbol], is_interpreter: bool) -> Self {
        let _ = (symbols, is_interpreter);
        Self::Other
    }
}
