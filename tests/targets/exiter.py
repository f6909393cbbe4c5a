"""Works in `short_work` for a while, then ends in the way asked for.

    --seconds N     wall time of work, 1 unless given
    --status S      exit status, 0 unless given
    --crash         end by abort() (no core file is left)
    --kill-self     end by SIGKILL
    --no-wait       work at once; without it, start at a line on stdin

Ground truth: `stack`, and `busy` (short_work) on top of it, at `waiting_line`
first and then at one of `lines`; `status`, as subprocess.Popen.returncode
has it. The end of stdin ends it at once with status 3.
"""
import argparse
import os
import resource
import select
import signal
import sys
import time

import groundtruth

CLOCK = getattr(time, "perf_counter", time.time)
ABANDONED = 3


def short_work(said, seconds, wait):
    said = os.write(1, said) and (not wait or os.read(0, 1))  # MARK waiting
    if not said:
        os._exit(ABANDONED)
    x = 0
    end = CLOCK() + seconds
    while CLOCK() < end:
        for _ in range(2000):
            x = (x * 31 + 7) % 1000003
        if wait and select.select([0], [], [], 0)[0] and not os.read(0, 64):
            os._exit(ABANDONED)
    return x


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=1.0)
    options.add_argument("--status", type=int, default=0)
    options.add_argument("--crash", action="store_true")
    options.add_argument("--kill-self", action="store_true")
    options.add_argument("--no-wait", action="store_true")
    asked = options.parse_args()
    groundtruth.limit_life()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = asked.status
    if asked.crash:
        status = -signal.SIGABRT
    elif asked.kill_self:
        status = -signal.SIGKILL
    known = groundtruth.working(sys._getframe(), "working", short_work)
    known["waiting_line"] = groundtruth.marked_line(__file__, "waiting")
    known["status"] = int(status)
    said = groundtruth.message(known)
    short_work(said, asked.seconds, not asked.no_wait)  # MARK working
    if asked.crash:
        os.abort()
    if asked.kill_self:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(asked.status)


if __name__ == "__main__":
    main()
