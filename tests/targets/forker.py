"""Forks short-lived children, a few at a time, and reaps each.

    --children N    how many in all, 20 at most
    --together N    how many at once, 3 unless given
    --life SECONDS  how long each lives, 0.3 unless given

It begins at a line on stdin, prints `forked PID` and `reaped PID STATUS`
for each child, `done` after the last, and waits for stdin to end; its end
before that stops the forking and reaps what there is.

Ground truth: those lines; a child is busy in `child_work`, called by
`fork_one` at `line`, `lines` are those it can stand at, and ends with
status number % 3; the parent waits in `supervise`.
"""
import argparse
import os
import select
import sys
import time

import groundtruth

MOST = 20
CLOCK = getattr(time, "perf_counter", time.time)


def child_work(seconds):
    x = 0
    end = CLOCK() + seconds
    while CLOCK() < end:
        for _ in range(1000):
            x = (x * 31 + 7) % 1000003
    return x


def fork_one(number, seconds):
    child = os.fork()
    if child:
        return child
    try:
        groundtruth.limit_life()
        child_work(seconds)  # MARK child
    finally:
        os._exit(number % 3)


def say(*words):
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode("ascii"))


def ended(seconds):
    """True once stdin has ended; waits `seconds` for it at most."""
    readable = select.select([0], [], [], seconds)[0]
    return bool(readable) and not os.read(0, 4096)


def supervise(asked):
    alive, started, stopped = set(), 0, False
    while alive or started < asked.children and not stopped:
        while len(alive) < asked.together and started < asked.children and not stopped:
            child = fork_one(started, asked.life)
            say("forked", child)
            alive.add(child)
            started += 1
        stopped = stopped or ended(0.01)
        if stopped:
            time.sleep(0.01)
        for child in list(alive):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                alive.remove(pid)
                say("reaped", pid, os.WEXITSTATUS(status))
    say("done")
    return stopped


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--children", type=int, default=MOST)
    options.add_argument("--together", type=int, default=3)
    options.add_argument("--life", type=float, default=0.3)
    asked = options.parse_args()
    asked.children = min(asked.children, MOST)
    asked.together = max(1, min(asked.together, MOST))
    groundtruth.limit_life()
    known = {
        "child": child_work.__name__,
        "line": groundtruth.marked_line(__file__, "child"),
        "lines": groundtruth.lines_of(child_work),
    }
    if not (os.write(1, groundtruth.message(known)) and os.read(0, 4096)):
        sys.exit(0)
    stopped = supervise(asked)
    while not stopped:
        stopped = ended(groundtruth.LIFE)


if __name__ == "__main__":
    main()
