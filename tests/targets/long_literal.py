"""A module with a dict literal of 20,000 lines, which waits in a call at its end.

To 3.9 and from 3.11 on its line table is some 40 to 400 KB long, in 3.10 6 MB.

Ground truth: `stack`, oldest frame first.
"""
import os

import groundtruth

LINES = 20000


def wait(said):
    return os.write(1, said) and os.read(0, 1)


def main():
    groundtruth.limit_life()
    source = "T = {\n%s}\nwait(said)\n" % "".join("'k%d': 'v%d',\n" % (i, i) for i in range(LINES))
    stack = groundtruth.stack_of(groundtruth.sys._getframe())
    line = groundtruth.marked_line(__file__, "run")
    stack[-1]["line"] = line
    name = {"func": "<module>", "qualname": "<module>", "file": "literal.py", "line": LINES + 3}
    last = {"func": "wait", "qualname": "wait", "file": groundtruth.text(wait.__code__.co_filename)}
    last["line"] = wait.__code__.co_firstlineno + 1
    said = groundtruth.message({"stack": stack + [name, last]})
    code = compile(source, "literal.py", "exec")
    exec(code, {"wait": wait, "said": said})  # MARK run


if __name__ == "__main__":
    main()
