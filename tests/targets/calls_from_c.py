"""Python that is called from C, and calls C that calls Python, in many ways.

Each way stands in a thread of its own, which waits in the innermost frame; with
--busy the main thread goes through all of them without end. What takes Python 3
is in calls_from_c_py3.py.

Ground truth: `threads` maps each name to its whole `stack` and to `called`, the
functions of it that C code has called, newest first: [function, its caller, part
of the name of the C function between them, or null where there is none but the
interpreter's own].
"""
import functools
import json
import os
import re
import sys
import threading

import groundtruth

LEVELS = 60
DEPTH = 200
NATIVE = {}


def by_sort(end):
    def key(_):
        return end()

    return sorted([1], key=key)


def by_map(end):
    def mapped(_):
        return end()

    return list(map(mapped, [1]))


def by_reduce(end):
    def reduced(_, __):
        return end()

    return functools.reduce(reduced, [1, 2])


def by_partial(end):
    def partly(_):
        return end()

    return functools.partial(partly, 1)()


def by_substitution(end):
    def replaced(_):
        return end() or ""

    return re.sub("a", replaced, "a")


def by_encoder(end):
    def default(_):
        return end()

    return json.dumps([Plain()], default=default)


def by_eval(end):
    return eval("evaluated()", {"evaluated": end})


def by_generator(end):
    def innermost():
        yield end()

    def outer():
        for value in innermost():
            yield value

    return sum(value or 0 for value in outer())


def by_iterator(end):
    class Numbers(object):
        def __iter__(self):
            return self

        def __next__(self):
            end()
            raise StopIteration

        next = __next__

    return sum(Numbers())


def by_attribute(end):
    class Missing(object):
        def __getattr__(self, name):
            return end()

    return Missing().name


def by_property(end):
    class Owner(object):
        @property
        def value(self):
            return end()

    return Owner().value


def by_operator(end):
    class Number(object):
        def __init__(self):
            self.plus()

        def plus(self):
            return self + 1

        def __add__(self, other):
            return end()

    return Number()


def by_class(end):
    class Body(object):
        value = end()

    return Body


def by_release(end):
    class Released(object):
        def __del__(self):
            end()

    def holder():
        held = Released()
        return held and None

    return holder()


def by_recursion(end):
    def recurse(levels):
        return recurse(levels - 1) if levels else end()

    return recurse(DEPTH)


def by_callbacks(end):
    def called(levels):
        def key(_):
            return called(levels - 1)

        return list(map(key, [1])) if levels else end()

    return called(LEVELS)


class Plain(object):
    pass


MODERN = sys.version_info[0] > 2
WAYS = [
    (by_sort, [["key", "by_sort", "sort"]]),
    (by_map, [["mapped", "by_map", "map"]]),
    (by_reduce, [["reduced", "by_reduce", "reduce"]]),
    (by_partial, [["partly", "by_partial", "partial"]]),
    (by_substitution, [["replaced", "sub", "sub"]]),
    (by_encoder, [["default", "iterencode", "encode"]]),
    (by_eval, [["<module>", "by_eval", "eval"]]),
    (by_generator, [["<genexpr>", "by_generator", "sum"]]),
    (by_iterator, [["__next__", "by_iterator", "sum"]]),
    (by_attribute, [["__getattr__", "by_attribute", None]]),
    (by_property, [["value", "by_property", None]]),
    (by_operator, [["__add__", "plus", None]]),
    (by_class, [["Body", "by_class", "build_class" if MODERN else None]]),
    (by_release, [["__del__", "by_release", "dealloc"]]),
    (by_recursion, []),
    (by_callbacks, [["key", "called", "map"]] * LEVELS),
]
if MODERN:
    import calls_from_c_py3

    WAYS += calls_from_c_py3.WAYS


def wait_in(way, ready, end):
    def wait():
        NATIVE[threading.current_thread().ident] = groundtruth.native_id()
        ready.set()
        return os.read(end, 1) and 0

    way(wait)


def begin(way, end):
    ready = threading.Event()
    name = way.__name__
    thread = threading.Thread(target=wait_in, args=(way, ready, end), name=name)
    thread.daemon = True
    thread.start()
    ready.wait()
    return thread


def work():
    total = 0
    for number in range(7):
        total += number
    return 0


def be_busy():
    groundtruth.announce({})
    while True:
        for way, _ in WAYS:
            way(work)


def main():
    groundtruth.limit_life()
    if "--busy" in sys.argv:
        be_busy()
    end, _ = os.pipe()
    threads = [begin(way, end) for way, _ in WAYS]
    stacks = groundtruth.settle(NATIVE)
    known = {}
    for thread, (_, called) in zip(threads, WAYS):
        known[thread.name] = {"stack": stacks[thread.ident], "called": called}
    groundtruth.announce({"threads": known})
    os.read(0, 1)


if __name__ == "__main__":
    main()
