"""Runs `before_exec` until told to go, then becomes another program.

    execer.py [--python PYTHON] --to PROGRAM ARGS...

A line (or a byte) on stdin makes it go: a PROGRAM that ends in .py is run
by PYTHON (this interpreter unless given), any other is executed itself, in
the same process; the rest of stdin is left to it. The end of stdin before
that ends the process with status 3.

Ground truth: `stack`, and `busy` (before_exec) on top of it, at one of
`lines`.
"""
import argparse
import os
import select
import sys

import groundtruth

ABANDONED = 3


def before_exec(said):
    os.write(1, said)
    x = 0
    while not select.select([0], [], [], 0)[0]:
        for _ in range(2000):
            x = (x * 31 + 7) % 1000003
    return os.read(0, 1)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--python", default=sys.executable)
    options.add_argument("--to", nargs=argparse.REMAINDER, required=True)
    asked = options.parse_args()
    groundtruth.limit_life()
    known = groundtruth.working(sys._getframe(), "before", before_exec)
    said = groundtruth.message(known)
    last = before_exec(said)  # MARK before
    while last not in (b"", b"\n"):
        last = os.read(0, 1)
    if not last:
        sys.exit(ABANDONED)
    command = asked.to
    if command[0].endswith(".py"):
        command = [asked.python] + command
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
