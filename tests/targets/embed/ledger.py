"""What the tests let the embedder run: `keep_ledger`, busy or blocked.

    orderd ledger.py            blocks at the end of a known stack
    orderd ledger.py --busy     stays in `add_up` until stdin ends

Ground truth: `stack`, oldest first (to which C adds nothing); for --busy
with `busy` on top of it, at one of `lines`.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), ".."))

import select  # noqa: E402

import groundtruth  # noqa: E402


def add_up(said):
    os.write(1, said)
    total = 0
    while not select.select([0], [], [], 0)[0]:
        for entry in range(2000):
            total = (total * 31 + entry) % 1000003
    return total


def keep_ledger(busy):
    if not busy:
        return groundtruth.block()
    known = groundtruth.working(sys._getframe(), "adding", add_up)
    return add_up(groundtruth.message(known))  # MARK adding


if __name__ == "__main__":
    groundtruth.limit_life()
    keep_ledger("--busy" in sys.argv[1:])
