"""profiling.sampling of Python 3.15, called Tachyon: only for targets of its own minor version."""

import re

import stacks

from .tool import Tool

CAPTURED = re.compile(r"Captured ([\d,.]+) samples? in ([\d.]+) seconds")
ERRORS = re.compile(r"Error rate: ([\d.]+)")


class Tachyon(Tool):
    def __init__(self, peers, blocking=False):
        self.command_line, self.missing = peers.tachyon()
        self.stops = blocking
        self.name = "Tachyon --blocking" if blocking else "Tachyon"
        self.options = ["--blocking"] if blocking else []

    def refuses(self, python):
        if python.version.startswith("3.15") and not python.free_threaded:
            return None
        return "takes targets of its own version, 3.15, only"

    def command(self, pid, rate, seconds, output, idle):
        asked = ["-r", rate, "--collapsed", "-o", output]
        return [*self.command_line, "attach", *asked, *self.options, *(["-a"] if idle else []), pid]

    def ends_itself(self):
        return False  # its duration is in whole seconds

    def env(self):
        return {"PYTHONDONTWRITEBYTECODE": "1"}

    def dump(self, pid):
        return [*self.command_line, "dump", "-a", pid] if not self.stops else None

    def stacks(self, path):
        return stacks.collapsed(path.read_text(encoding="utf-8", errors="replace"), stacks.file_name_line)

    def failed(self, run):
        return None if CAPTURED.search(run.stdout) else super().failed(run) or "it said nothing"

    def counts(self, recording):
        captured, errors = CAPTURED.search(recording.run.stdout), ERRORS.search(recording.run.stdout)
        ticks, seconds = int(re.sub(r"[,.]", "", captured[1])), float(captured[2])
        lost = round(ticks * float(errors[1]) / 100) if errors else None
        return {"lost": lost, "missed": max(0, round(recording.rate * seconds) - ticks), "seconds": seconds}
