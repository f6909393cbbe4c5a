/* Structures that CPython declares in a .c file, or in a header that it does not install. */

#if BEFORE(3, 10)
/* Objects/moduleobject.c, 2.7 to 3.9: the dictionary follows the header; what comes after is not used here. */
typedef struct {
    PyObject_HEAD
    PyObject *md_dict;
} PyModuleObject;
#endif

#if FROM(3, 6) && BEFORE(3, 11)
/* Objects/dict-common.h, 3.6 to 3.10. In 3.6 dk_indices is a union of arrays, 8 bytes long and 8-aligned. */
typedef struct {
    Py_hash_t me_hash;
    PyObject *me_key;
    PyObject *me_value;
} PyDictKeyEntry;

struct _dictkeysobject {
    Py_ssize_t dk_refcnt;
    Py_ssize_t dk_size;
    void *dk_lookup; /* a function pointer */
    Py_ssize_t dk_usable;
    Py_ssize_t dk_nentries;
    char dk_indices[];
};
#endif

#if FROM(3, 3)
/* PyASCIIObject.state is a bit field, and free-threaded builds arrange it differently
 * (Include/cpython/unicodeobject.h, 3.13 on). The bits' places in the little-endian word are found by
 * setting them. */
typedef union {
    uint32_t word;
    __typeof__(((PyASCIIObject *)0)->state) bits;
} StrState;
#define STR_BIT(member)                                                  \
    ({                                                                   \
        StrState state;                                                  \
        state.word = 0;                                                  \
        state.bits.member = 1;                                           \
        __builtin_ctz(state.word);                                       \
    })
#endif

#if FROM(3, 14)
static const _Py_DebugOffsets DEBUG_OFFSETS = _Py_DebugOffsets_INIT(_Py_Debug_Cookie);
#elif FROM(3, 13)
/* pycore_runtime_init.h initializes them only as part of the whole. */
static const _PyRuntimeState RUNTIME = _PyRuntimeState_INIT(RUNTIME, _Py_Debug_Cookie);
#define DEBUG_OFFSETS RUNTIME.debug_offsets
#endif
