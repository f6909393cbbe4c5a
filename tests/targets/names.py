# -*- coding: utf-8 -*-
"""One stack of names and paths that are hard to read or to print.

Classes nested and plain, a closure, a lambda, a static method, a name of
5,000 characters, names in Latin-1, in the BMP and beyond it (3.x), a module
below a directory that is not ASCII, one below a path of nearly PATH_MAX.

Ground truth: `stack`, oldest first, with func, qualname (3.11+), file, line
of every frame; each file is named as it is on disk, in UTF-8.
The directories it makes go when stdin or its time ends, or at SIGTERM.
"""
import importlib
import os
import shutil
import signal
import sys
import tempfile

import groundtruth

LONG_NAME = "long_" + "n" * 4995
LONGEST_PATH = 4000
ASCII_FUNCTIONS = ["plain_name", LONG_NAME]
OTHER_FUNCTIONS = [
    u"größe",
    u"größe_雀",
    u"\U00010400",
    u"x_\U00020000",
    u"переменная",
]
CALLER = u"def {0}(call):\n    '''{1}'''\n    return call()\n"


def functions():
    """Each hard name as a function that calls its argument."""
    names = ASCII_FUNCTIONS + (OTHER_FUNCTIONS if sys.version_info > (3,) else [])
    for name in names:
        space = {}
        source = CALLER.format(name, u"Named by the source that defines it.")
        exec(compile(source, "<defined at run time>", "exec"), space)
        found = [v for v in space.values() if callable(v)]
        yield found[0]


def module_caller(directory, name):
    """`carry_on` of a module written to `directory`, a path in bytes."""
    path = os.path.join(directory, name + b".py")
    source = CALLER.format(u"carry_on", u"größer") + u"# Ende\n"
    with open(path, "wb") as module:
        module.write((u"# -*- coding: utf-8 -*-\n" + source).encode("utf-8"))
    python3 = sys.version_info > (3,)
    sys.path.insert(0, os.fsdecode(directory) if python3 else directory)
    importlib.invalidate_caches() if python3 else None
    found = importlib.import_module(os.fsdecode(name) if python3 else name)
    sys.path.pop(0)
    return found.carry_on


def deep_directory(root):
    """A directory whose path, with a file in it, is nearly PATH_MAX long."""
    path, part = root, b"d" * 200
    while len(path) + len(part) + len(b"//tiefer.py") < LONGEST_PATH:
        path = os.path.join(path, part)
        os.mkdir(path)
    return path


class Outer(object):
    def method(self, call):
        return self.Inner.of_class(call)

    class Inner(object):
        @classmethod
        def of_class(cls, call):
            return cls.of_none(call)

        @staticmethod
        def of_none(call):
            def closure():
                return (lambda: call())()

            return closure()


def innermost():
    return groundtruth.block()


def through(callers):
    """A call of `innermost` through each of `callers`, the first outermost."""
    call = innermost
    for caller in reversed(callers):
        call = bound(caller, call)
    return call()


def bound(caller, call):
    return lambda: caller(call)


def main():
    groundtruth.limit_life()
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    sys.dont_write_bytecode = True
    root = tempfile.mkdtemp(prefix="targets-")
    root = root if isinstance(root, bytes) else os.fsencode(root)
    try:
        unusual = os.path.join(root, u"módulo_雀".encode("utf-8"))
        os.mkdir(unusual)
        callers = list(functions())
        callers.append(module_caller(unusual, b"erster"))
        callers.append(module_caller(deep_directory(root), b"tiefer"))
        callers.append(Outer().method)
        through(callers)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
