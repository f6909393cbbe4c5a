"""A parser of many small functions beside a scanner of few, which measures how
it divides its time.

`scan` goes over text in four functions; `parse` goes through 960 methods that
call each other, and helpers, from some 4,000 places, each of which is met
once in a millisecond: in the first seconds of a recording most of them
are new.

Ground truth: as in phases.py, of `scan` and `parse`.
"""
import phases

METHODS = 960
DEPTH = 12


class Scanner(object):
    def __init__(self):
        self.at = 0

    def advance(self, by):
        self.at += by
        return self.at

    def peek(self, by):
        return self.at + by

    def word(self, length):
        for _ in range(length):
            self.advance(1)
            self.peek(1)
        return self.at


class Parser(object):
    def __init__(self):
        self.at = 0

    def advance(self, by):
        self.at += by
        return self.at

    def made(self, x, of=None):
        return x + (of or 1)


def method(index):
    """Calls the next one, as deep as that goes, beside helpers."""
    below = index + 1
    call = "self.p%d(x or 1)" % below if below % DEPTH else "self.made(x, x or index)"
    return "\n".join(
        [
            "def p%d(self, x, index=%d):" % (index, index),
            "    self.advance(x or 1)",
            "    x = %s" % call,
            "    self.advance(index)",
            "    return self.made(x, index if x else 1)",
        ]
    )


SOURCE = "\n".join(method(index) for index in range(METHODS))
METHODS_BY_NAME = {}
exec(compile(SOURCE, "methods.py", "exec"), METHODS_BY_NAME)
for name in ["p%d" % index for index in range(METHODS)]:
    setattr(Parser, name, METHODS_BY_NAME[name])

SCANNER, PARSER = Scanner(), Parser()


def scan(_):
    for length in range(60):
        SCANNER.word(length)
    return None


def parse(_):
    for first in range(0, METHODS, DEPTH):
        getattr(PARSER, "p%d" % first)(3)
    return None


if __name__ == "__main__":
    phases.main([scan, parse])
