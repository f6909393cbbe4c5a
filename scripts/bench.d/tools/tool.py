"""What every profiler looks like to a measurement."""

import tempfile
from collections import Counter
from functools import cached_property
from pathlib import Path

from failure import telling_line
from run import Child


class Tool:
    """A profiler with its options. Those of a subclass say how it is called and how to read what it says."""

    name = ""
    missing = None  # why it cannot be had on this machine
    stops = False  # whether it stops the target for each sample
    native = False  # whether it shows native frames too
    suffix = ".txt"

    def refuses(self, python):
        """Why it cannot look at this interpreter, where that is known without a try."""
        return None

    def command(self, pid, rate, seconds, output, idle):
        """argv of a recording; `idle` means all threads, else those that it takes by default."""
        raise NotImplementedError

    def ends_itself(self):
        """Whether a recording ends after its duration by the clock; else it is asked to finish when that is over."""
        return True

    def goes_near(self, rate):
        """Whether it goes to the core of the thread that it looks at."""
        return False

    def env(self):
        return {}

    def dump(self, pid):
        """argv that shows the stacks once, or None."""
        return None

    def stacks(self, path):
        """Counter of stacks in its output."""
        return Counter()

    def counts(self, recording):
        """{samples, lost, missed, seconds}, as far as it says them."""
        return {}

    def quality(self, recording):
        """What it says of its native stacks, in %: {rooted, named, merged}, as far as it says it."""
        return {}

    def failed(self, run):
        """Why there is no recording, or None."""
        return telling_line(run.stderr, run.stdout) if run.status else None

    def record(self, bench, pid, rate, seconds, idle=False, memory=False):
        recording = Live(self, bench, pid, rate, seconds, idle)
        return recording.end(memory)


class Live:
    """A recording that goes on. `end` waits for its end, which is never later than asked.

    `on` are the cores that the profiler may use, if not just its own, or any where it goes to the target's.
    """

    def __init__(self, tool, bench, pid, rate, seconds, idle=False, on=None):
        self.tool, self.seconds, self.rate = tool, seconds, rate
        self.directory = tempfile.TemporaryDirectory(prefix="firefinch-bench-")
        self.output = Path(self.directory.name) / f"output{tool.suffix}"
        argv = [str(part) for part in tool.command(pid, rate, seconds, self.output, idle)]
        on = on or (bench.cores.all if tool.goes_near(rate) else bench.cores.profiler)
        self.child = Child(argv, bench.cores, on, tool.env())

    def end(self, memory=False):
        with self.directory:
            try:
                if not self.tool.ends_itself():
                    self.child.wait(self.seconds, memory)
                    self.child.stop()
                run = self.child.end(memory)
            except BaseException:
                self.child.kill()
                raise
            return Recording(self.tool, run, self.rate, self.seconds, self.output)

    def kill(self):
        with self.directory:
            self.child.kill()


class Recording:
    """A recording that has ended. Everything is read at once, as its file goes."""

    def __init__(self, tool, run, rate, seconds, output):
        self.tool, self.run, self.rate, self.asked = tool, run, rate, seconds
        self.failure = tool.failed(run)
        self.stacks = Counter()
        if self.failure is None and output.exists():
            try:
                self.stacks = tool.stacks(output)
            except (ValueError, LookupError) as error:
                self.failure = f"its output cannot be read: {error}"

    @cached_property
    def counts(self):
        counts = self.tool.counts(self)
        counts.setdefault("samples", sum(self.stacks.values()))
        counts.setdefault("lost", None)
        counts.setdefault("seconds", self.asked)
        counts.setdefault("missed", max(0, round(self.rate * counts["seconds"]) - counts["samples"]))
        return counts
