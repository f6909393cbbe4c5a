"""Threads that work at the end of a stack of some depth, beside threads that wait.

--threads N work, the main thread being one of them; with 0 it waits like the others. It lives until it is killed,
ten minutes at most: a thread that watched stdin would be one more to look at.
"""
import argparse
import os
import threading

import groundtruth
import levels


def rest(barrier):
    barrier.wait()
    threading.Event().wait()


def work(barrier, first):
    barrier.wait()
    first(1)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--depth", type=int, default=20)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--idle", type=int, default=0)
    asked = options.parse_args()
    groundtruth.limit_life(600)
    threading.stack_size(256 * 1024)
    first = levels.tower(asked.depth)
    workers = max(0, asked.threads - 1)
    barrier = threading.Barrier(asked.idle + workers + 1)
    jobs = [(rest, (barrier,))] * asked.idle + [(work, (barrier, first))] * workers
    for job, arguments in jobs:
        threading.Thread(target=job, args=arguments, daemon=True).start()
    barrier.wait()
    os.write(1, groundtruth.message({}))
    if asked.threads:
        first(1)
    threading.Event().wait()


if __name__ == "__main__":
    main()
