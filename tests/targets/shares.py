"""Four functions that take known shares of the time: 50, 30, 15 and 5 %.

Slices of 1 to 4 ms, in an order and of lengths that no sampling period can
fall in step with. A function that is ahead of its share, because it was
kept from running inside its slice, is passed over until it no longer is:
the shares hold to within some 5 ms of wall time however long the run.

Ground truth: `shares`, by function; `calls`, the line of `main` that calls
them all. At the end a line `spent {...}` gives the shares as they came out,
measured around the calls, with "elsewhere" for what is left.
--seconds N ends it before stdin does.
"""
import argparse
import json
import os
import random
import threading
import time

import groundtruth

CLOCK = getattr(time, "perf_counter", time.time)
TOLERANCE = 0.005
SHORTEST, LONGEST = 0.001, 0.004


def takes_50(end):
    while CLOCK() < end:
        pass


def takes_30(end):
    while CLOCK() < end:
        pass


def takes_15(end):
    while CLOCK() < end:
        pass


def takes_05(end):
    while CLOCK() < end:
        pass


SHARES = [(takes_50, 0.50), (takes_30, 0.30), (takes_15, 0.15), (takes_05, 0.05)]


class Plan(object):
    """Whose turn it is, for how long, by what everyone has had so far."""

    def __init__(self):
        self.random = random.Random(2718)
        self.spent = dict((function, 0.0) for function, _ in SHARES)
        self.total = 0.0

    def turn(self):
        while True:
            at = self.random.random()
            for function, share in SHARES:
                at -= share
                if at < 0:
                    break
            if self.spent[function] <= share * self.total + TOLERANCE:
                length = self.random.uniform(SHORTEST, LONGEST)
                return function, length

    def add(self, function, seconds):
        self.spent[function] += seconds
        self.total += seconds


def watch_stdin(ended):
    while os.read(0, 4096):
        pass
    ended.append(True)


def run(seconds):
    plan = Plan()
    ended = []
    watcher = threading.Thread(target=watch_stdin, args=(ended,), name="stdin-watcher")
    watcher.daemon = True
    watcher.start()
    groundtruth.announce(
        {
            "shares": dict((f.__name__, share) for f, share in SHARES),
            "caller": "run",
            "calls": groundtruth.marked_line(__file__, "calls"),
        }
    )
    begun = CLOCK()
    while not ended and CLOCK() < begun + seconds:
        function, length = plan.turn()
        start = CLOCK()
        function(start + length)  # MARK calls
        plan.add(function, CLOCK() - start)
    return plan, CLOCK() - begun


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=groundtruth.LIFE)
    asked = options.parse_args()
    groundtruth.limit_life(asked.seconds + 5)
    plan, wall = run(asked.seconds)
    spent = dict((f.__name__, s / wall) for f, s in plan.spent.items())
    spent["elsewhere"] = 1 - sum(spent.values())
    os.write(1, ("spent %s\n" % json.dumps(spent, sort_keys=True)).encode("ascii"))


if __name__ == "__main__":
    main()
