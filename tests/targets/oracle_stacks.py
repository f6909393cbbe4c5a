"""Small programs of everyday shapes, whose every possible stack is known.

    oracle_stacks.py KIND

methods: a method of the same name in two classes, each called by one
function only. generators: generators that go through themselves, to a depth
that each caller knows. callbacks: C calls Python on one line and on the next.
constructors: a class is called. implicit: what is no call in the source calls. table:
functions are called by their places in a list. disguised: the same as implicit, by other
names than the methods have. lines: a function with five lines of equal
work, called by one that does little else. Each does the same again and again.

Ground truth: `stacks`, oldest frame first: all that there can be from "ready"
on, with each line at which their newest frame can stand, of all but the
thread "stdin-watcher", which waits in read(). They come from a forked child
that goes through the same calls under sys.settrace: what was traced itself
would no longer run as an ordinary program does.

Another program may give main() kinds of its own.
"""
import itertools
import json
import os
import sys
import threading
import time

import groundtruth

CYCLES = 3
SEEN = set()
STARTED = set()


class A(object):
    def run(self, x):
        return of_a(x)


class B(object):
    def run(self, x):
        return of_b(x)


def of_a(x):
    return x ^ 1


def of_b(x):
    return x ^ 2


def f(a, x):
    x = x ^ 3
    return a.run(x)


def g(b, x):
    x = x ^ 3
    x = x ^ 4
    x = b.run(x)
    return x


def methods(cycles):
    a, b, x = A(), B(), 0
    for _ in cycles:
        x = f(a, x)
        x = g(b, x)


def walk(n):
    if n == 0:
        for i in (1, 2, 3):
            yield i
        # Else its end, to 3.9, has the last line of the function.
        return
    for x in walk(n - 1):
        yield x


def delegate(n):
    if n == 0:
        yield 1
        yield 2
        yield 3
        return
    yield from delegate(n - 1)


def go_deep():
    for x in walk(3):
        pass


def go_less_deep():
    for x in walk(1):
        pass


def go_by_delegation():
    for x in delegate(3):
        pass


def generators(cycles):
    for _ in cycles:
        go_deep()
        go_less_deep()
        go_by_delegation()


def pairs(count):
    numbers = tuple(range(count))
    for each in numbers:
        yield tuple(each ^ other for other in numbers)


def iterated(cycles):
    for _ in cycles:
        for pair in pairs(40):
            if len(set(x ^ 1 for x in pair)) == len(set(x ^ 2 for x in pair)):
                pass


def rank(x):
    y = x ^ 1
    y = y ^ 2
    return y


def size(x):
    y = x ^ 3
    y = y ^ 4
    return y


def callbacks(cycles):
    numbers = (3, 1, 2)
    for _ in cycles:
        sorted(numbers, key=rank)
        max(numbers, key=size)
        sum(numbers)


class Point(object):
    def __init__(self, x):
        self.x = x
        self.y = x ^ 1
        self.z = x ^ 2


def constructors(cycles):
    x = 0
    for _ in cycles:
        p = Point(x)
        x = p.x ^ 1


class Box(object):
    @property
    def size(self):
        x = 1
        x = x ^ 2
        return x

    def __getitem__(self, x):
        x = x ^ 1
        x = x ^ 2
        return x


class Veil(object):
    def __getattribute__(self, name):
        x = name
        x = x is name
        return x


def positional(x, y):
    x = x ^ y
    x = x ^ 1
    return x


def named(x, y):
    x = x ^ y
    x = x ^ 2
    return x


def implicit(cycles):
    box, veil, both = Box(), Veil(), (1, 2)
    for _ in cycles:
        x = box.size
        x = box[x] ^ x
        x = veil.hidden
        x = positional(*both)
        x = named(y=x, x=x)


HANDLERS = [positional, named]


def table(cycles):
    x = 0
    for _ in cycles:
        x = HANDLERS[0](x, 1)
        x = HANDLERS[1](x, 2)


class Disguised(object):
    def first(self):
        x = 1
        return x

    def second(self):
        x = 2
        return x

    def third(self, x):
        x = x ^ 3
        return x

    one = property(first)
    two = property(second)
    __getitem__ = third


def disguised(cycles):
    some = Disguised()
    for _ in cycles:
        x = some.one
        x = some.two
        x = some[x]


def bodies(cycles):
    for _ in cycles:

        class Body(object):
            first = rank(1)
            second = [size(x) for x in (1, 2)]

            @property
            def third(self):
                return 3

        Body().third


def leaf(x):
    x = x ^ 1 ^ 2 ^ 3
    x = x ^ 4 ^ 5 ^ 6
    x = x ^ 7 ^ 8 ^ 9
    x = x ^ 10 ^ 11 ^ 12
    x = x ^ 13 ^ 14 ^ 15
    return x


def lines(cycles):
    x = 0
    for _ in cycles:
        x = leaf(x)
        x = leaf(x)


KINDS = (methods, generators, iterated, callbacks, constructors, implicit, table, disguised, bodies, lines)


def trace(frame, event, argument):
    # Some instructions belong to no line.
    if frame.f_lineno is not None:
        SEEN.add(json.dumps(groundtruth.stack_of(frame), sort_keys=True))
    return trace


def watch(stacks):
    """Say ready once a cycle has begun, then wait for the end of stdin."""
    while not STARTED:
        time.sleep(0.01)
    said = groundtruth.message({"stacks": stacks})
    os._exit(os.write(1, said) and len(os.read(0, 1)))


def begin():
    """The cycles to go through: in the child, traced, a few; then without end."""
    ours, its = os.pipe()
    if os.fork() == 0:
        sys.settrace(trace)
        return range(CYCLES), its
    os.close(its)
    with os.fdopen(ours) as pipe:
        stacks = json.load(pipe)
    os.wait()
    watcher = threading.Thread(target=watch, args=(stacks,), name="stdin-watcher")
    watcher.daemon = True
    watcher.start()
    # Nothing but C between two cycles: it has no frame.
    return map(STARTED.add, itertools.repeat(True)), None


def main(kinds):
    groundtruth.limit_life()
    kind = dict((k.__name__, k) for k in kinds)[sys.argv[1]]
    cycles, to_parent = begin()
    kind(cycles)
    sys.settrace(None)
    with os.fdopen(to_parent, "w") as pipe:
        pipe.write("[%s]" % ",".join(sorted(SEEN)))


if __name__ == "__main__":
    main(KINDS)
