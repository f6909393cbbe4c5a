"""py-spy. Its duration counts ticks, so that a late run would last longer: it is asked to finish by the clock."""

import re

import stacks

from .tool import Tool

SUMMARY = re.compile(r"Samples: (\d+) Errors: (\d+)")


class PySpy(Tool):
    def __init__(self, peers, blocking=True, native=False):
        self.path, self.missing = peers.find("py-spy")
        self.stops, self.native = blocking, native
        self.options = [*([] if blocking else ["--nonblocking"]), *(["--native"] if native else [])]
        self.name = " ".join(["py-spy", *self.options])

    def command(self, pid, rate, seconds, output, idle):
        asked = ["-p", pid, "-r", rate, "-f", "raw", "-o", output]
        return [*self.path, "record", *asked, *self.options, *(["-i"] if idle else [])]

    def ends_itself(self):
        return False

    def dump(self, pid):
        return [*self.path, "dump", "--pid", pid] if self.stops else None

    def stacks(self, path):
        return stacks.collapsed(path.read_text(encoding="utf-8", errors="replace"), stacks.name_file_line)

    def failed(self, run):
        if "No stack counts found" in run.stderr + run.stdout:
            return None  # its way to say that no thread ran
        return super().failed(run)

    def counts(self, recording):
        found = SUMMARY.search(recording.run.stdout + recording.run.stderr)
        return {"samples": int(found[1]), "lost": int(found[2])} if found else {}
