"""perf of Linux, which takes a copy of the stack with each sample and unwinds it afterwards, by DWARF."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from failure import telling_line

from .tool import Tool

STACK = 65528  # bytes copied of each stack: the most that perf takes
BUFFER = "32M"  # for each processor: with the usual one, half of such samples are lost
FRAME = re.compile(r"\s+(?:[0-9a-f]+) (?P<name>.*) \((?P<where>[^()]*(?: \(deleted\))?)\)$")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


class Perf(Tool):
    name = "perf"
    native = True
    suffix = ".data"

    def __init__(self):
        self.path = shutil.which("perf")
        self.missing = None if self.path else "perf is not installed: apt install linux-perf, dnf install perf"

    def command(self, pid, rate, seconds, output, idle):
        # By the clock, as others sample; and what the kernel does for the program is its function's that asked for it.
        what = ["-e", "cpu-clock", "--user-callchains", "--call-graph", f"dwarf,{STACK}", "-m", BUFFER]
        return [self.path, "record", "-q", *what, "-F", rate, "-o", output, "-p", pid, "--", "sleep", seconds]

    def stacks(self, path):
        """Names of functions, those inlined too, oldest first."""
        # Its own limit of 127 frames would cut off a stack's root.
        asked = [self.path, "script", "--max-stack", "4096", "-F", "ip,sym,dso", "-i", path]
        done = subprocess.run(asked, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise ValueError(telling_line(done.stderr, done.stdout))
        found = Counter(tuple(names(sample)) for sample in re.split(r"\n\s*\n", done.stdout) if sample.strip())
        found.pop((), None)
        return found

    def failed(self, run):
        why = super().failed(run)
        if why and PARANOID.exists():
            why += f" (kernel.perf_event_paranoid is {PARANOID.read_text().strip()}; -1 permits everything)"
        return why


def names(sample):
    frames = [FRAME.match(line) for line in sample.splitlines() if line.strip()]
    return [frame["name"] if frame else "[unknown]" for frame in reversed(frames)]
