"""A process that hardly does anything: N threads asleep, one if asked busy.

    --threads N    sleeping threads beside the main one, 200 unless given
    --busy         one more, named "busy-worker", in pure Python

Ground truth: `sleeper`, the [function, line] that every thread named
"sleeper-<number>" sleeps at until the end; the main thread waits for stdin
at `main`, a [function, line] as well; for --busy the `stack` of the busy
thread, with `busy` on top of it at one of `lines`.
"""
import argparse
import os
import sys
import threading
import time

import groundtruth

BUSY = {}


def sleep_on(asleep):
    asleep.append(threading.current_thread().ident)
    time.sleep(2 * groundtruth.LIFE)  # MARK asleep


def busy_loop(x):
    while True:
        x = (x * 31 + 7) % 1000003


def be_busy():
    BUSY.update(groundtruth.working(sys._getframe(), "busy", busy_loop))
    busy_loop(1)  # MARK busy


def begin(name, function, *args):
    thread = threading.Thread(target=function, args=args, name=name)
    thread.daemon = True
    thread.start()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--threads", type=int, default=200)
    options.add_argument("--busy", action="store_true")
    asked = options.parse_args()
    groundtruth.limit_life()
    threading.stack_size(256 << 10)
    asleep = []
    for number in range(asked.threads):
        begin("sleeper-%d" % number, sleep_on, asleep)
    while len(asleep) < asked.threads:
        time.sleep(0.01)
    groundtruth.settle(dict.fromkeys(asleep, 0))
    if asked.busy:
        begin("busy-worker", be_busy)
        while not BUSY:
            time.sleep(0.01)
    known = dict(
        BUSY,
        sleepers=asked.threads,
        sleeper=["sleep_on", groundtruth.marked_line(__file__, "asleep")],
        main=["main", groundtruth.marked_line(__file__, "main")],
    )
    said = groundtruth.message(known)
    os._exit(os.write(1, said) and len(os.read(0, 1)))  # MARK main


if __name__ == "__main__":
    main()
