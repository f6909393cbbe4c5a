"""A module with a dict literal of 20,000 entries, which calls functions by name.

    large_module.py --threads 1

Ground truth: `edges` (caller, line of the call, callee), `roots`, and
`leaf_lines`, the lines at which each function can be the innermost.
"""
import os
import threading

import groundtruth

ENTRIES = 20000
BEGIN = """def leaf(x):
    x = x ^ 1
    return x
def inner(x):
    x = leaf(x)
    return x
TABLE = {
"""
END = """}
x = 0
started()
while True:
    x = x ^ 1 ^ 2 ^ 3 ^ 4 ^ 5 ^ 6 ^ 7 ^ 8 ^ 9 ^ 10 ^ 11 ^ 12 ^ 13 ^ 14 ^ 15 ^ 16
    x = x ^ 1 ^ 2 ^ 3 ^ 4 ^ 5 ^ 6 ^ 7 ^ 8 ^ 9 ^ 10 ^ 11 ^ 12 ^ 13 ^ 14 ^ 15 ^ 16
    x = inner(x)
"""


def announce(known):
    said = groundtruth.message({"edges": known["edges"], "roots": ["<module>"], "leaf_lines": known["lines"]})
    os._exit(os.write(1, said) and len(os.read(0, 1)))


def main():
    source = BEGIN + "".join("'k%d': 'v%d',\n" % (i, i) for i in range(ENTRIES)) + END
    functions = {}

    def started():
        line = groundtruth.marked_line(__file__, "exec")
        last = source.count("\n")
        known = {
            "edges": [
                ["<module>", groundtruth.marked_line(__file__, "main"), "main"],
                ["main", line, "<module>"],
                ["<module>", last, "inner"],
                ["inner", 5, "leaf"],
            ],
            "lines": {
                "<module>": [last - 3, last - 2, last - 1, last],
                "inner": groundtruth.lines_of(functions["inner"]),
                "leaf": groundtruth.lines_of(functions["leaf"]),
            },
        }
        watcher = threading.Thread(target=announce, args=(known,), name="stdin-watcher")
        watcher.daemon = True
        watcher.start()

    functions["started"] = started
    exec(compile(source, "module.py", "exec"), functions)  # MARK exec


if __name__ == "__main__":
    groundtruth.limit_life()
    main()  # MARK main
