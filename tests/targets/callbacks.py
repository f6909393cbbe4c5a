"""Python called from C that was called from Python, as often as asked for.

    callbacks.py [KIND] [DEPTH]

KIND is what lies between: sort (a key function), json (the encoder's default),
re (a replacement), reduce, or ctypes (a callback through libffi).

Ground truth: `stack`, oldest first, in which each `called` was called by C;
`through`: names of C functions one of which did it.
"""
import ctypes
import functools
import json
import re
import sys

import groundtruth

KINDS = {
    "sort": (lambda: [0].sort(key=called), ["list_sort_impl", "list_sort", "listsort"]),
    "json": (lambda: json.dumps(KINDS, default=called), ["encoder_listencode_obj"]),
    "re": (lambda: PATTERN.sub(called, "a"), ["pattern_subx"]),
    "reduce": (
        lambda: functools.reduce(called, [0, 1]),
        ["functools_reduce", "_functools_reduce", "_functools_reduce_impl", "builtin_reduce"],
    ),
    "ctypes": (lambda: CALLBACK(0), ["ffi_call", "ffi_call_int", "ffi_call_unix64"]),
}
PATTERN = re.compile("a")
LEFT = []


def called(*values):
    if not LEFT:
        groundtruth.block(through=THROUGH)
    else:
        LEFT.pop()
        CALL()
    return RESULT


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(called)


def main():
    groundtruth.limit_life()
    CALL()


if __name__ == "__main__":
    KIND = (sys.argv[1:2] or ["sort"])[0]
    CALL, THROUGH = KINDS[KIND]
    RESULT = {"re": "", "json": None}.get(KIND, 0)
    LEFT.extend(range(1, int((sys.argv[2:3] or ["1"])[0])))
    main()
