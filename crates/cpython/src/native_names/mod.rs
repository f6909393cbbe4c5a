//! What native functions are to a Python stack, by their names.
//!
//! Between two Python frames lie dozens of functions of the interpreter itself
//! which say nothing about the program. Left out are only those that move a
//! call from one place to another: what works for the program (sorting a list,
//! looking up in a dict, collecting garbage, waiting for the lock) is no
//! machinery.

mod elsewhere;
mod table;

use crate::layout::Version;
use elsewhere::{CYTHON, LIBC};
use table::{INTERPRETER, Minor};

/// What a native function is to a Python stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NativeRole {
    /// The evaluation loop: Python frames run in it. Each call of it is a
    /// [`RawLoop`](crate::RawLoop).
    ///
    /// In an interpreter of tail calls (`--with-tail-call-interp`, from 3.14 on)
    /// the instructions are functions that run *above* the loop's own frame and
    /// are [machinery](Self::Machinery).
    Loop,
    /// What lies between two loops: calls, descriptors, slots, generators that
    /// are resumed, frames that are made and released, source text that is run.
    Machinery,
    /// What lies below the oldest loop: `main`, `Py_RunMain`, thread start.
    /// Outside the interpreter that counts only for the oldest frames of a stack.
    Startup,
    /// Anything else.
    #[default]
    Other,
}

impl NativeRole {
    /// The role of a function in the interpreter's own module, the executable
    /// or libpython: there alone its name says what it is.
    pub fn in_interpreter(function: &str, version: Version) -> Self {
        let base = base(function);
        let minor = (version.major, version.minor);
        let found = find(minor, |name| name == base);
        let found = found.or_else(|| find(minor, |name| begins(name, base)));
        found.unwrap_or_else(|| Self::elsewhere(function))
    }

    /// The role of a function in any other module, which Cython may have made.
    pub fn elsewhere(function: &str) -> Self {
        let base = base(function);
        if CYTHON.iter().any(|name| begins(name, base)) {
            return Self::Machinery;
        }
        let base = base.strip_prefix("__GI_").unwrap_or(base);
        match LIBC.contains(&base) {
            true => Self::Startup,
            false => Self::Other,
        }
    }

    /// The role of code that a program has made while it ran, and named in its
    /// perf map. CPython makes a trampoline for each Python function if it is
    /// run with `-X perf` (`Python/perf_trampoline.c`, from 3.12 on): these
    /// repeat what Python frames say.
    pub fn generated(name: &str) -> Self {
        match name.starts_with("py::") {
            true => Self::Machinery,
            false => Self::Other,
        }
    }
}

fn find(minor: Minor, fits: impl Fn(&str) -> bool) -> Option<NativeRole> {
    let mut last: Option<(Minor, NativeRole)> = None;
    for functions in INTERPRETER {
        for (name, since, until) in functions.names {
            if !fits(name) {
                continue;
            }
            // A name that means different things says which in which version.
            if (*since..=*until).contains(&minor) {
                return Some(functions.role);
            }
            if last.is_none_or(|(known, _)| known < *until) {
                last = Some((*until, functions.role));
            }
        }
    }
    last.map(|(_, role)| role)
}

fn begins(name: &str, base: &str) -> bool {
    let beginning = name.strip_suffix('*');
    beginning.is_some_and(|beginning| base.starts_with(beginning))
}

/// The name that the source has. Compilers append what they have done to a
/// function: `.cold`, `.part.0`, `.constprop.1`, `.isra.0`, `.lto_priv.0`,
/// `.llvm.123`; linkers the version of a symbol or `@plt`.
fn base(function: &str) -> &str {
    let end = function.find(['.', '@']).unwrap_or(function.len());
    &function[..end]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn version(major: u8, minor: u8) -> Version {
        let hex = u32::from_be_bytes([major, minor, 0, 0xf0]);
        Version::from_hex(hex).unwrap()
    }

    /// What a compiler or a linker has appended changes no role, and what only begins like a name is not it.
    #[test]
    fn suffixes() {
        let now = version(3, 14);
        for (function, role) in [
            ("_PyEval_EvalFrameDefault", NativeRole::Loop),
            ("_PyEval_EvalFrameDefault.cold", NativeRole::Loop),
            ("_PyEval_EvalFrameDefault.llvm.17093", NativeRole::Loop),
            ("_PyEval_EvalFrameDefaultX", NativeRole::Other),
            ("_PyObject_MakeTpCall.constprop.1", NativeRole::Machinery),
            ("PyObject_Call@plt", NativeRole::Machinery),
            ("method_vectorcall.lto_priv.0.isra.0", NativeRole::Machinery),
            ("slot_tp_call", NativeRole::Machinery),
            ("slot_inherited", NativeRole::Other),
            ("_TAIL_CALL_CALL_PY_EXACT_ARGS", NativeRole::Machinery),
            ("pymain_run_python.constprop.0", NativeRole::Startup),
            ("PyRun_SimpleFileExFlags", NativeRole::Machinery),
            ("list_sort_impl", NativeRole::Other),
            ("gc_collect_main", NativeRole::Other),
            ("take_gil", NativeRole::Other),
            ("", NativeRole::Other),
            (".cold", NativeRole::Other),
        ] {
            assert_eq!(
                NativeRole::in_interpreter(function, now),
                role,
                "{function}"
            );
        }
    }

    /// The loop of one version is a wrapper in another, and a version that is not known yet is taken for the last.
    #[test]
    fn versions() {
        let role = NativeRole::in_interpreter;
        assert_eq!(role("PyEval_EvalFrameEx", version(2, 7)), NativeRole::Loop);
        for minor in 6..=20 {
            let version = version(3, minor);
            assert_eq!(role("PyEval_EvalFrameEx", version), NativeRole::Machinery);
            assert_eq!(role("_PyEval_EvalFrameDefault", version), NativeRole::Loop);
        }
    }

    /// Names of the interpreter mean nothing elsewhere, but the C library starts threads in every program.
    #[test]
    fn modules() {
        let role = NativeRole::elsewhere;
        for startup in ["_start", "__libc_start_call_main", "clone3", "__GI___clone"] {
            assert_eq!(role(startup), NativeRole::Startup, "{startup}");
        }
        for other in ["main", "_PyEval_EvalFrameDefault", "call_function", "read"] {
            assert_eq!(role(other), NativeRole::Other, "{other}");
        }
        let calls = [
            "__Pyx_PyObject_FastCallDict",
            "__Pyx_CyFunction_CallAsMethod",
        ];
        for machinery in calls {
            assert_eq!(role(machinery), NativeRole::Machinery, "{machinery}");
        }
        assert_eq!(role("__Pyx_PyObject_GetItem"), NativeRole::Other);
        let generated = NativeRole::generated;
        assert_eq!(generated("py::work:/x.py"), NativeRole::Machinery);
        assert_eq!(generated("Interpreter::run"), NativeRole::Other);
    }

    /// Each name stands once for each version, with a file of CPython's and a span of versions.
    #[test]
    fn table() {
        let mut spans: HashMap<&str, Vec<(Minor, Minor)>> = HashMap::new();
        for functions in INTERPRETER {
            let directory = functions.file.split('/').next().unwrap();
            let known = ["Include", "Modules", "Objects", "Programs", "Python"];
            assert!(known.contains(&directory), "{}", functions.file);
            for (name, since, until) in functions.names {
                assert!(since <= until, "{name}");
                let spans = spans.entry(name).or_default();
                let apart = |(from, to): &(Minor, Minor)| until < from || to < since;
                assert!(spans.iter().all(apart), "{name} twice");
                spans.push((*since, *until));
            }
        }
    }
}
