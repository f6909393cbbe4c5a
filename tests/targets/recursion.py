"""A recursion of DEPTH calls (20,000 unless given), blocked at its bottom.

It runs in a thread named "diver" whose C stack is large enough for versions
to 3.10, where every Python call nests one in C; the main thread joins it.

Ground truth: `depth`, and `runs`: [function, line, how often in a row] from
the oldest frame to the newest, whose counts add up to the whole stack.
Nothing walks the deep stack, so that it is as an ordinary program has it.
"""
import os
import sys
import threading

import groundtruth

DEFAULT_DEPTH = 20000
STACK_BYTES = 512 << 20


def dive(depth, said):
    if depth > 1:
        return dive(depth - 1, said)  # MARK deeper
    return os.write(1, said) and os.read(0, 1)  # MARK bottom


def diver(depth):
    start = groundtruth.marked_line(__file__, "start")
    runs = [
        [frame["func"], frame["line"], 1]
        for frame in groundtruth.stack_of(sys._getframe())
    ]
    runs[-1][1] = start
    if depth > 1:
        deeper = groundtruth.marked_line(__file__, "deeper")
        runs.append(["dive", deeper, depth - 1])
    runs.append(["dive", groundtruth.marked_line(__file__, "bottom"), 1])
    known = {"depth": depth, "runs": runs, "syscalls": ["read"]}
    return dive(depth, groundtruth.message(known))  # MARK start


def main():
    groundtruth.limit_life()
    depth = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_DEPTH
    sys.setrecursionlimit(depth + 1000)
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=diver, args=(max(depth, 1),), name="diver")
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
