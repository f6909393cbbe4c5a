/* CPython's own headers. Internal ones moved twice: Include/internal/NAME.h in 3.7, pycore_NAME.h since. */
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#endif
#include <Python.h>

#define FROM(major, minor) (PY_VERSION_HEX >= ((major) << 24 | (minor) << 16))
#define BEFORE(major, minor) (!FROM(major, minor))

#include <opcode.h>
#include <frameobject.h>
#if BEFORE(3, 11)
#include <code.h>
#include <longintrepr.h> /* struct _longobject */
#endif
#if FROM(3, 8)
#include "pycore_pystate.h" /* all of the state in 3.8 */
#elif FROM(3, 7)
#include "internal/pystate.h"
#endif
#if FROM(3, 9)
#include "pycore_interp.h"
#include "pycore_runtime.h"
#endif
#if FROM(3, 10)
#include "pycore_moduleobject.h" /* PyModuleObject */
#endif
#if FROM(3, 11)
#include "pycore_dict.h"  /* struct _dictkeysobject, struct _dictvalues */
#include "pycore_frame.h" /* struct _frame, and to 3.13 _PyInterpreterFrame */
#include "pycore_object.h"
#endif
#if FROM(3, 13)
#include "pycore_ceval.h"        /* a number that the initializers use */
#include "pycore_runtime_init.h" /* initial values of _Py_DebugOffsets */
#endif
#if FROM(3, 14)
#include "pycore_debug_offsets.h"
#include "pycore_genobject.h"
#include "pycore_interpframe.h" /* _PyInterpreterFrame */
#endif
