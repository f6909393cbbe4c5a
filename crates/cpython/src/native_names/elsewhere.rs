//! Functions of other modules than the interpreter's. A name that ends with `*` stands for
//! all that begin so.

/// What starts programs and threads in C libraries: glibc 2.31 to 2.41
/// (`csu/libc-start.c`, `nptl/pthread_create.c`,
/// `sysdeps/unix/sysv/linux/*/clone*.S`) and musl 1.2 (`crt/crt1.c`,
/// `src/env/__libc_start_main.c`,
/// `src/thread/*/clone.s`).
pub(super) const LIBC: &[&str] = &[
    "_start",
    "_start_c",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "generic_start_main",
    "libc_start_main_stage2",
    "start_thread",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
    "__clone_internal",
];

/// What carries a call in modules that Cython has made, 0.29 to 3.3
/// (`Cython/Utility/{CythonFunction,ObjectHandling,Coroutine}.c`), which each
/// module has for itself: what lies between its functions and Python's.
pub(super) const CYTHON: &[&str] = &[
    "__pyx_FusedFunction_call*",
    "__Pyx_CyFunction_Call*",
    "__Pyx_CyFunction_Vectorcall*",
    "__Pyx_Coroutine_Send*",
    "__Pyx_Coroutine_Yield*",
    "__Pyx_Generator_Next*",
    "__Pyx_Generator_Send*",
    "__Pyx_PyCFunction_FastCall*",
    "__Pyx_PyFunction_FastCall*",
    "__Pyx_PyObject_Call*",
    "__Pyx__PyObject_Call*",
    "__Pyx_PyObject_FastCall*",
    "__Pyx_PyObject_Vectorcall*",
    "__Pyx_PyVectorcall_FastCall*",
];
