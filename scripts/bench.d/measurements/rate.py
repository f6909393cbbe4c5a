"""The most samples a second that a profiler takes, by depth of the stack and number of threads.

The target works in its innermost functions, at the end of a stack of functions that differ. Each profiler is asked
for a million samples a second. With 16 threads that all want to run, all are asked for, also those that wait for the
interpreter's lock: a sample is one stack of one thread.

Bare reads are a loop that makes the one system call that a sample of one thread needs, a read of 3 KiB in two places, and
looks at nothing of it: more than it makes nobody can take here.
"""

from dataclasses import dataclass

from table import Table, grouped, median, pivot
from target import Target
from tools.controls import BARE_READS

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
RATE = 1_000_000
SECONDS, QUICK_SECONDS = 4, 1.5
ROUNDS = 3
RATIOS = [("firefinch", other) for other in ("Tachyon", "py-spy", "py-spy --nonblocking", "austin", BARE_READS)]


@dataclass
class Case:
    depth: int
    threads: int

    @property
    def name(self):
        return f"depth {self.depth}, {self.threads} thread{'s' if self.threads > 1 else ''}"


CASES = [Case(depth, threads) for threads in (1, 16) for depth in (5, 20, 100)]


def measure(bench):
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    rounds = bench.rounds(ROUNDS)
    for python in bench.pythons(*PYTHONS):
        tools = bench.tools_for(python)
        for case in bench.cases(CASES):
            for turn in range(rounds):
                with Target(bench, python, "busy.py", "--depth", case.depth, "--threads", case.threads) as target:
                    bare = bench.controls_for(python, BARE_READS) if case.threads == 1 else []
                    for tool in tools + bare:
                        keep(bench, case, tool, target, seconds)
                        bench.say(f"{python.name}, {case.name}, round {turn + 1} of {rounds}: {tool.name}")


def keep(bench, case, tool, target, seconds):
    recording = bench.record(tool, target, RATE, seconds, idle=case.threads > 1)
    if recording:
        samples, lost = recording.counts["samples"], recording.counts["lost"]
        bench.keep(
            python=target.python.name, tool=tool.name, depth=case.depth, threads=case.threads,
            value=samples / recording.counts["seconds"], lost=lost, samples=samples,
        )  # fmt: skip


def tables(records):
    header, rows = pivot(records, ["python", "threads", "depth"], 0, ratios=RATIOS)
    notes = []
    for (python, tool), group in grouped(records, "python", "tool").items():
        lost = [r["lost"] / (r["lost"] + r["samples"]) for r in group if r["lost"]]
        if lost and median(lost) > 0.001:
            notes.append(f"{tool} on {python}: lost {100 * min(lost):.1f} to {100 * max(lost):.1f} % of its samples")
    about = "Samples a second when asked for a million, median; those lost are not counted."
    return [Table("Highest rate", about, header, rows, notes)]
