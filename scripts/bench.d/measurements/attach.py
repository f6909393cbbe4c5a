"""How soon there is something to see, and how much memory a long recording takes.

`dump` is the wall time of the command that shows the stacks once, from its start to its end. Memory is the highest
resident size of a recording of call churn at the highest rate, with as many samples as it got.
"""

from dataclasses import dataclass

from failure import telling_line
from run import run
from table import Table, grouped, number, spread
from target import Target
from tools.firefinch import Firefinch, first_sample

PYTHONS = ["3.11", "3.15"]
TIMES, QUICK_TIMES = 20, 5
SHORT = 0.05  # seconds of a recording of which only the start is of interest
RATE, SECONDS, QUICK_SECONDS = 1_000_000, 10, 2


@dataclass
class Case:
    name: str


STARTS, MEMORY = Case("starts"), Case("memory")


def measure(bench):
    for python in bench.pythons(*PYTHONS):
        tools = bench.tools_for(python) + bench.tools_for(python, native=True)
        for case in bench.cases([STARTS, MEMORY]):
            starts(bench, python, tools) if case is STARTS else memory(bench, python, tools)


def starts(bench, python, tools):
    times = bench.rounds(QUICK_TIMES if bench.quick else TIMES)
    times = max(times, QUICK_TIMES)
    with Target(bench, python, "busy.py") as target:
        for turn in range(times):
            bench.say(f"{python.name}: dump, round {turn + 1} of {times}")
            for tool in tools:
                argv = tool.dump(target.pid)
                if argv:
                    done = run([str(part) for part in argv], bench.cores, bench.cores.profiler, env=tool.env())
                    if done.status:
                        bench.note(f"dump: {telling_line(done.stderr, done.stdout)}", tool, python)
                    else:
                        bench.keep(python=python.name, tool=tool.name, what="dump", value=done.wall * 1e3)
                if isinstance(tool, Firefinch):
                    recording = bench.record(tool, target, 100, SHORT)
                    first = recording and first_sample(recording.run)
                    if first is not None:
                        bench.keep(python=python.name, tool=tool.name, what="first sample", value=first * 1e3)


def memory(bench, python, tools):
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    with Target(bench, python, "oracle_calls.py") as target:
        for tool in tools:
            recording = bench.record(tool, target, RATE, seconds, memory=True)
            if recording:
                samples, peak = recording.counts["samples"], recording.run.peak_memory
                bench.keep(python=python.name, tool=tool.name, what="memory", value=peak / 2**20, samples=samples)
                bench.say(f"{python.name}: {tool.name}: {peak / 2**20:.0f} MiB with {samples:,} samples")


def tables(records):
    rows = []
    for (python, tool), group in grouped(records, "python", "tool").items():
        def values(what):
            return [r["value"] for r in group if r["what"] == what]

        samples = max((r["samples"] for r in group if r["what"] == "memory"), default=None)
        most = max(values("memory"), default=None)
        times = [spread(values("first sample")), spread(values("dump"))]
        rows.append([python, tool, *times, number(most), number(samples)])
    header = ["Python", "Tool", "first sample, ms", "dump, ms", "memory, MiB", "of samples"]
    about = "Median and quartiles. The first sample is counted from the start of attaching, in the same process."
    return [Table("Attaching and memory", about, header, rows)]
