"""firefinch itself, this build of it or another."""

import re

import stacks

from .tool import Tool

SUMMARY = re.compile(r": ([\d,]+) samples?, ([\d,]+) ticks? missed, ([\d,]+) lost(?: \((.*?)\))?;")
FIRST = re.compile(r"first sample after ([\d.]+) ms")
QUALITY = re.compile(r"native stacks?: ([\d.]+) % rooted, ([\d.]+) % of frames named, ([\d.]+) % merged whole")
NOTHING = 3  # its exit code where no thread ran
MAX_NEAR = 100  # Hz: up to that rate threads are looked at from their own core


class Firefinch(Tool):
    def __init__(self, path, name="firefinch", blocking=False, native=None):
        """`native` is the option of that name: --native or --native=all."""
        self.path, self.stops, self.native = path, blocking, bool(native)
        self.options = [*(["--blocking"] if blocking else []), *([native] if native else [])]
        self.name = " ".join([name, *self.options])

    def command(self, pid, rate, seconds, output, idle):
        asked = ["-p", pid, "-r", rate, "-d", seconds, "-f", "raw", "-o", output, "-v"]
        return [self.path, "record", *asked, *self.options, *(["-i"] if idle else [])]

    def goes_near(self, rate):
        return rate <= MAX_NEAR and not self.stops

    def dump(self, pid):
        return [self.path, "dump", pid, *self.options] if not self.stops else None

    def stacks(self, path):
        return stacks.collapsed(path.read_text(encoding="utf-8"), stacks.name_file_line)

    def native_stacks(self):
        """This build with all native frames; its stacks are of these alone, by name."""
        return NativeFirefinch(self.path, native="--native=all")

    def failed(self, run):
        return None if run.status == NOTHING else super().failed(run)

    def counts(self, recording):
        found = SUMMARY.search(recording.run.stderr)
        if not found:
            return {}
        samples, missed, lost = (int(part.replace(",", "")) for part in found.groups()[:3])
        return {"samples": samples, "missed": missed, "lost": lost, "why": found[4] or ""}

    def quality(self, recording):
        found = QUALITY.search(recording.run.stderr)
        return dict(zip(("rooted", "named", "merged"), map(float, found.groups()))) if found else {}


class NativeFirefinch(Firefinch):
    def stacks(self, path):
        return stacks.collapsed(path.read_text(encoding="utf-8"), stacks.native_name)


def first_sample(run):
    """Seconds from the start of attaching to the first sample, as -v says it."""
    found = FIRST.search(run.stderr)
    return float(found[1]) / 1e3 if found else None
