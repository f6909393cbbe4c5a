"""Not profilers: loops that show the least that sampling can cost on this machine."""

import json
import subprocess

from failure import telling_line

from .tool import Tool

EMPTY_LOOP = "empty loop"
BARE_READS = "bare reads"


class Loop(Tool):
    """A loop that wakes at the rate, and does nothing, or makes the system calls of one sample and looks at nothing that
    it reads."""

    def __init__(self, path, reads):
        self.name = BARE_READS if reads else EMPTY_LOOP
        self.path, self.reads = path, reads

    def command(self, pid, rate, seconds, output, idle):
        return [self.path, rate, seconds, *([pid] if self.reads else [])]

    def counts(self, recording):
        told = json.loads(recording.run.stdout)
        return {"samples": told["wakes"], "lost": 0, "seconds": told["seconds"]}


def controls(source, directory):
    """{name: tool} of them all, built."""
    path = directory / "wake"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        built = subprocess.run(["cc", "-O2", "-o", path, source], check=False, capture_output=True, text=True)
    except OSError as error:
        missing = f"no C compiler: {error.strerror}"
    else:
        missing = telling_line(built.stderr) if built.returncode else None
    loops = [Loop(path, reads) for reads in (False, True)]
    for loop in loops:
        loop.missing = missing
    return {loop.name: loop for loop in loops}
