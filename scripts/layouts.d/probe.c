/* Prints where CPython keeps what, for the version and build whose headers are on the include path.
 *
 * scripts/layouts compiles this with -S and reads the "#>" lines out of the assembler text, so nothing
 * is linked or run. Which field exists where, and under which name, is said once: in the conditions of
 * the files beside this one, each naming the CPython header that it read.
 *
 *   OFF(Name, type, member)   byte offset of a member
 *   SIZE(Name, type)          size of a structure in bytes
 *   VAL(Name, expression)     any other compile-time number
 *   DBG(Name, member)         position of a u64 in _Py_DebugOffsets whose value has Name's meaning
 *
 * Names become the variants of `Field`, in the order in which they first appear in the files.
 */
#include "cpython.h"

#include <stddef.h>
#include <string.h>

#define EMIT(tag, name, number, text) \
    __asm__ volatile("\n#> " tag " " #name " %c0 " text : : "i"((long)(number)))
#define OFF(name, type, member) \
    EMIT("field", name, offsetof(type, member), "offsetof(" #type ", " #member ")")
#define SIZE(name, type) EMIT("field", name, sizeof(type), "sizeof(" #type ")")
#define VAL(name, expression) EMIT("field", name, expression, #expression)

#define DBG(name, member)                                                                            \
    __asm__ volatile("\n#> debug " #name " %c0 %c1 " #member                                          \
                     : : "i"(offsetof(_Py_DebugOffsets, member)), "i"(DEBUG_OFFSETS.member))

#include "mirrors.h"

void probe(void)
{
    EMIT("python", version, PY_VERSION_HEX, PY_VERSION);
#include "runtime.inc"
#include "thread.inc"
#include "frame.inc"
#include "code.inc"
#include "object.inc"
#include "container.inc"
#include "debug_offsets.inc"
}
