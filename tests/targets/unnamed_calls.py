"""Functions that are called, but by no name that the caller has for them.

    unnamed_calls.py --threads 1

`step` through a variable, `tracer` by the interpreter for each line of `traced`,
`__del__` of an object that is given up.

Ground truth: `edges` (caller, line of the call, callee), `roots`, and
`leaf_lines`, the lines at which each function can be the innermost.
"""
import os
import sys
import threading

import groundtruth

TIMES = 50


class Walker(object):
    def step(self, i):
        i = i ^ 1
        i = i ^ 2
        return i

    def run(self):
        choice = [self.step, None]
        f = choice[0]
        for i in range(4 * TIMES):
            f(i)  # MARK variable
        g = self.step
        for i in range(4 * TIMES):
            g(i)  # MARK bound


class Mortal(object):
    def __del__(self):
        x = 1
        for i in range(8):
            x = x ^ i


def die():
    for i in range(TIMES):
        x = Mortal()
        x = None  # MARK dies


def tracer(frame, event, argument):
    x = 1
    for i in range(4):
        x = x ^ i
    return tracer


def traced():
    x = 1
    x = x ^ 2
    x = x ^ 3
    return x


def trace():
    sys.settrace(tracer)
    for i in range(TIMES):
        traced()  # MARK traced
    sys.settrace(None)


def main():
    walker = Walker()
    while True:
        walker.run()  # MARK run
        die()  # MARK die
        trace()  # MARK trace


def announce():
    mark = lambda name: groundtruth.marked_line(__file__, name)
    functions = [Walker.step, Walker.run, Mortal.__del__, die, tracer, traced, trace, main]
    lines = dict((f.__name__, groundtruth.lines_of(f)) for f in functions)
    edges = [
        ["<module>", mark("main"), "main"],
        ["main", mark("run"), "run"],
        ["main", mark("die"), "die"],
        ["main", mark("trace"), "trace"],
        ["run", mark("variable"), "step"],
        ["run", mark("bound"), "step"],
        ["die", mark("dies"), "__del__"],
        ["trace", mark("traced"), "traced"],
    ]
    edges += [["traced", line, "tracer"] for line in lines["traced"]]
    said = groundtruth.message({"edges": edges, "roots": ["<module>"], "leaf_lines": lines})
    os._exit(os.write(1, said) and len(os.read(0, 1)))


if __name__ == "__main__":
    groundtruth.limit_life()
    watcher = threading.Thread(target=announce, name="stdin-watcher")
    watcher.daemon = True
    watcher.start()
    main()  # MARK main
