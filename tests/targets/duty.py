"""Threads that are on a processor for known parts of the time.

    busy-N    computes N ms of every 20 ms, in `busy_N`; N is 1, 3 and 6

The work is counted in the thread's own processor time, so a machine that is
late makes it later but not more. Ground truth: `threads` maps each name to its
`native_id` and `function`. The main thread waits for stdin.
"""
import os
import threading
import time

import groundtruth

PERIOD = 0.020


def busy_1(end):
    while time.thread_time() < end:
        pass


def busy_3(end):
    while time.thread_time() < end:
        pass


def busy_6(end):
    while time.thread_time() < end:
        pass


WORK = [(busy_1, 0.001), (busy_3, 0.003), (busy_6, 0.006)]


def keep_on(started, known, name, function, work):
    known[name] = {
        "native_id": groundtruth.native_id(),
        "function": function.__name__,
    }
    started.set()
    begun = time.perf_counter()
    turns = 0
    while True:
        function(time.thread_time() + work)
        turns += 1
        left = begun + turns * PERIOD - time.perf_counter()
        if left > 0:
            time.sleep(left)


def main():
    groundtruth.limit_life()
    known = {}
    for function, work in WORK:
        name = "busy-%d" % round(work * 1000)
        started = threading.Event()
        arguments = (started, known, name, function, work)
        thread = threading.Thread(target=keep_on, args=arguments, name=name)
        thread.daemon = True
        thread.start()
        started.wait()
    said = groundtruth.message({"threads": known})
    os._exit(os.write(1, said) and len(os.read(0, 1)))


if __name__ == "__main__":
    main()
