#!/usr/bin/env python3
"""A small shop's order processing: the program that firefinch's demonstration records.

Orders arrive as JSON, several workers parse, price, check and store them, a reporter sums up once a second. It is
honest work without any sleep in the path of an order, and it is slower than it should be: one line takes about half
of the time. Finding it is the demonstration. (`--block-list set` is the cure.)

It prints `ready PID=<pid>` once orders flow, and runs until SIGTERM, Ctrl-C or the end of stdin; with `--seconds N`
that long, whatever stdin does. Python 3.8 or later, standard library only.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading

sys.dont_write_bytecode = True

from orders.pipeline import Pipeline  # noqa: E402

ORDERS_BEFORE_READY = 100


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="run this long instead of until stdin ends")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--block-list", choices=("list", "set"), default="list", help="what blocked addresses are in")
    parser.add_argument("--report", action="store_true", help="print the report once a second")
    return parser.parse_args()


def wait_for_end_of_stdin(stop):
    while os.read(0, 4096):
        pass
    stop.set()


def main():
    asked = arguments()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="orders-") as directory:
        pipeline = Pipeline(
            database=os.path.join(directory, "orders.sqlite"),
            workers=asked.workers,
            block_list=set if asked.block_list == "set" else list,
            print_report=asked.report,
        )
        pipeline.start()
        if asked.seconds is None:
            watcher = threading.Thread(target=wait_for_end_of_stdin, args=(stop,), name="stdin-watcher", daemon=True)
            watcher.start()
        pipeline.wait_for(ORDERS_BEFORE_READY, stop)
        print(f"ready PID={os.getpid()}", flush=True)
        stop.wait(asked.seconds)
        pipeline.stop()
        print(pipeline.summary(), flush=True)


if __name__ == "__main__":
    main()
