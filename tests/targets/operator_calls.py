"""Methods that operators, constructors and loops call, and generator expressions in C.

    operator_calls.py --threads 1

No name at the place of the call is that of the function.

Ground truth: `edges` (caller, line of the call, callee), `roots`, and
`leaf_lines`, the lines at which each function can be the innermost.
"""
import os
import threading

import groundtruth

NUMBERS = (1, 2, 3)


class Flags(object):
    def __init__(self, value):
        self.value = value
        self.other = value ^ 1

    def __and__(self, other):
        x = self.value ^ other
        x = x ^ 1
        return x

    def __getitem__(self, index):
        x = self.value ^ index
        x = x ^ 2
        return x


def work(x):
    flags = Flags(x)  # MARK constructs
    x = x ^ 1 ^ 2 ^ 3
    x = [x ^ 4, x ^ 5][0] ^ 6
    x = flags & x  # MARK operates
    x = x ^ 7 ^ 8 ^ 9
    x = [x ^ 10, x ^ 11][1] ^ 12
    x = flags[x]  # MARK subscripts
    x = x ^ 13 ^ 14 ^ 15
    return x


def go_through(x):
    y = sum(x ^ i for i in NUMBERS)  # MARK sums
    y = y ^ 1 ^ 2 ^ 3
    y = [y ^ 4, y ^ 5][0] ^ 6
    return y


def main():
    x = 1
    while True:
        x = work(x)  # MARK work
        x = go_through(x) & 0xFFFF  # MARK goes


def announce():
    mark = lambda name: groundtruth.marked_line(__file__, name)
    functions = [Flags.__init__, Flags.__and__, Flags.__getitem__, work, go_through, main]
    lines = dict((f.__name__, groundtruth.lines_of(f)) for f in functions)
    lines["<genexpr>"] = [mark("sums")]
    edges = [
        ["<module>", mark("main"), "main"],
        ["main", mark("work"), "work"],
        ["main", mark("goes"), "go_through"],
        ["work", mark("constructs"), "__init__"],
        ["work", mark("operates"), "__and__"],
        ["work", mark("subscripts"), "__getitem__"],
        ["go_through", mark("sums"), "<genexpr>"],
    ]
    said = groundtruth.message({"edges": edges, "roots": ["<module>"], "leaf_lines": lines})
    os._exit(os.write(1, said) and len(os.read(0, 1)))


if __name__ == "__main__":
    groundtruth.limit_life()
    watcher = threading.Thread(target=announce, name="stdin-watcher")
    watcher.daemon = True
    watcher.start()
    main()  # MARK main
