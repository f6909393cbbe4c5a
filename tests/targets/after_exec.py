"""What execer.py turns into: busy in `after_exec` until stdin ends.

Ground truth: `stack`, and `busy` (after_exec) on top of it, at one of `lines`.
"""
import os
import select
import sys

import groundtruth


def after_exec(said):
    os.write(1, said)
    x = 0
    while not select.select([0], [], [], 0)[0]:
        for _ in range(2000):
            x = (x * 17 + 3) % 1000003
    return x


def main():
    groundtruth.limit_life()
    known = groundtruth.working(sys._getframe(), "after", after_exec)
    after_exec(groundtruth.message(known))  # MARK after


if __name__ == "__main__":
    main()
