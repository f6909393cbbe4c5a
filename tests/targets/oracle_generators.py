"""Generators that come and go, in which every possible edge of a stack is known.

    driver -> g_a, g_b, g_c -> g_aa ... g_cc -> c_aa ... c_cc

Each generator goes through one of its own and calls a function of its own for
each item; all are used up and made anew within some ten microseconds, so a
frame lies where another one's lay a moment ago, and none lies in the data
stack. A generator that is resumed is called by the line that goes through it.

Ground truth as in oracle_calls.py.
"""
import sys

import oracle_calls

ITEMS = tuple(range(20))


def c_aa(x):
    return x ^ 1


def c_bb(x):
    return x ^ 2


def c_cc(x):
    return x ^ 3


def g_aa(x):
    for i in ITEMS:
        yield c_aa(x)


def g_bb(x):
    for i in ITEMS:
        yield c_bb(x)


def g_cc(x):
    for i in ITEMS:
        yield c_cc(x)


def g_a(x):
    for y in g_aa(x):
        yield y


def g_b(x):
    for y in g_bb(x):
        yield y


def g_c(x):
    for y in g_cc(x):
        yield y


def driver(x):
    oracle_calls.STARTED.append(x)
    while True:
        for y in g_a(x):
            x = y
        for y in g_b(x):
            x = y
        for y in g_c(x):
            x = y


if __name__ == "__main__":
    oracle_calls.main(sys.modules[__name__])
