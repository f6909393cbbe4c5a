"""A recursion beside a loop, by a program that measures how it divides its time.

    deep_phases.py DEPTH

`deep` goes down DEPTH calls and up again, in which nothing stands for longer
than a tenth of a microsecond; `shallow` loops for about as long in a function
of its own. The deeper a stack is, the longer it takes to copy, and the more of
it has gone on meanwhile.

Ground truth: as in phases.py, of `deep` and `shallow`.
"""
import sys

import phases

DEPTH = int(sys.argv[1])


def dive(depth):
    if depth > 1:
        return dive(depth - 1)
    return 0


def deep(_):
    return dive(DEPTH)


def shallow(x):
    for each in range(DEPTH):
        x = x ^ each
        x = x ^ 1
    return x


if __name__ == "__main__":
    phases.main([deep, shallow])
