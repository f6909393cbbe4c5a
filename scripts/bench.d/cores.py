"""Which core the target runs on and which the profiler.

With two cores or more the target has one and the profiler another, so that a figure does not depend on whether the
scheduler happened to put the profiler's wake-ups on the target's core. It is the scheduler's usual choice when a core
is free; on a full machine both share, and the target then also loses what the profiler uses. A profiler that goes to
the target's core by itself may use any.
"""

import contextlib
import os


class Cores:
    """`target` and `profiler` are sets of core numbers."""

    def __init__(self, pin):
        self.allowed = sorted(os.sched_getaffinity(0))
        self.pinned = pin and len(self.allowed) > 1
        self.target = {self.allowed[0]} if self.pinned else set(self.allowed)
        self.profiler = {self.allowed[-1]} if self.pinned else set(self.allowed)
        self.all = set(self.allowed)
        # We ourselves stay off the target's core.
        os.sched_setaffinity(0, self.profiler)

    @contextlib.contextmanager
    def children_on(self, cores):
        """What is started inside runs on these cores: affinity is inherited."""
        os.sched_setaffinity(0, cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, self.profiler)

    def describe(self):
        if not self.pinned:
            return f"target and profiler share {len(self.allowed)} core(s), not pinned"
        return f"target pinned to core {self.allowed[0]}, profiler to core {self.allowed[-1]}"
