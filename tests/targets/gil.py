"""Threads that compete for the GIL, one of which holds it for long in C.

    spinner-0 .. spinner-2    pure Python, in `spin_0` .. `spin_2`
    sorter                    in `sort_big`: sorted() of a big list, some
                              50 ms in C without ever giving up the GIL
    releaser                  in `pack_big`: zlib packs a big buffer, in C
                              with the GIL given up

Ground truth: `threads` maps each name to the `busy` function it stays in,
`lines`, those this can stand at, `c_call`, the line of the call in C or
null, and `releases`, whether that gives up the GIL. All pass a gate first,
which is open by `ready`; the main thread waits in read() in `main`. In a
free-threaded build nobody waits for anybody.
"""
import os
import random
import sys
import threading
import zlib

import groundtruth

NUMBERS = [random.Random(1).random() for _ in range(100000)]
BUFFER = b"\0" * (8 << 20)


def spin_0(gate, x):
    gate.acquire()
    while True:
        x = (x * 31 + 7) % 1000003


def spin_1(gate, x):
    gate.acquire()
    while True:
        x = (x * 17 + 3) % 1000033


def spin_2(gate, x):
    gate.acquire()
    while True:
        x = (x * 13 + 5) % 1000037


def sort_big(gate, numbers):
    gate.acquire()
    while True:
        sorted(numbers)  # MARK sorting


def pack_big(gate, buffer):
    gate.acquire()
    while True:
        zlib.compress(buffer)  # MARK packing


def main():
    groundtruth.limit_life()
    if sys.version_info < (3,):
        sys.setcheckinterval(1)  # else the sorter sorts a dozen times in a go
    sorting = groundtruth.marked_line(__file__, "sorting")
    packing = groundtruth.marked_line(__file__, "packing")
    jobs = [
        ("spinner-0", spin_0, 1, None, False),
        ("spinner-1", spin_1, 1, None, False),
        ("spinner-2", spin_2, 1, None, False),
        ("sorter", sort_big, NUMBERS, sorting, False),
        ("releaser", pack_big, BUFFER, packing, True),
    ]
    known, gates = {}, []
    for name, function, argument, c_call, releases in jobs:
        gate = threading.Lock()
        gate.acquire()
        gates.append(gate)
        thread = threading.Thread(target=function, args=(gate, argument), name=name)
        thread.daemon = True
        thread.start()
        known[name] = {
            "busy": function.__name__,
            "lines": groundtruth.lines_of(function),
            "c_call": c_call,
            "releases": releases,
        }
    said = groundtruth.message({"threads": known})
    for gate in gates:
        gate.release()
    os._exit(os.write(1, said) and len(os.read(0, 1)))


if __name__ == "__main__":
    main()
