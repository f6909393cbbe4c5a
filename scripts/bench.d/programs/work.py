"""Counts its own work and looks at the clock all the time, to see from inside what profiling costs it.

The work is a loop of short calls, 20 frames deep, with a look at the clock after each turn of about a microsecond.
--idle N threads wait beside it. At the end of stdin a line of JSON tells, in ns of CLOCK_MONOTONIC: `marks`, pairs of
time and turns done until then, every 5 ms; `gaps`, pairs of start and length, wherever two looks were more than 5 us
apart.
"""
import argparse
import gc
import json
import os
import threading
import time

import groundtruth

MARK, GAP = 5_000_000, 5_000
BELOW = 12  # with the module, main, work and the turn: 20 frames


def leaf(x):
    return (x * 3 + 1) & 0xFFFF


def third(x):
    return leaf(x) + 1


def second(x):
    return third(x) ^ 5


def turn(x):
    return second(x) & 0xFFFF


def work(ended, clock=time.monotonic_ns):
    marks, gaps = [], []
    x, turns = 1, 0
    last = mark = clock()
    while not ended:
        x = turn(x)
        turns += 1
        now = clock()
        if now - last > GAP:
            gaps.append((last, now - last))
        if now - mark > MARK:
            marks.append((now, turns))
            mark = now
        last = now
    return {"marks": marks, "gaps": gaps}


def deeper(frames, ended):
    return deeper(frames - 1, ended) if frames else work(ended)


def watch_stdin(ended):
    while os.read(0, 4096):
        pass
    ended.append(True)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--idle", type=int, default=0)
    asked = options.parse_args()
    groundtruth.limit_life(1800)
    threading.stack_size(256 * 1024)
    gc.disable()
    ended = []
    for _ in range(asked.idle):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Thread(target=watch_stdin, args=(ended,), daemon=True).start()
    groundtruth.announce({})
    print(json.dumps(deeper(BELOW, ended)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
