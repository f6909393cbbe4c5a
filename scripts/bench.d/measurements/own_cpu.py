"""What a profiler itself uses of a core, beside a loop that only wakes as often.

Processor time of the process from outside. Each run is made short and long; the difference is what sampling costs,
without attaching, symbols and the report.

The empty loop does nothing when it wakes. Bare reads are a loop that makes the fewest system calls a sample can have
(one read of 3 KiB of memory in two places, one look at what the thread does) and looks at nothing of it: after a sleep
of 10 ms the first system call alone costs as much as waking, as nothing of the kernel's is in the processor's caches.
"""

from dataclasses import dataclass

from table import Table, pivot
from target import Target
from tools.controls import BARE_READS, EMPTY_LOOP

PYTHONS = ["3.11", "3.15"]
LENGTHS, QUICK_LENGTHS = (2, 12), (1, 3)
ROUNDS = 3


@dataclass
class Case:
    name: str
    threads: int
    idle: int
    rate: int


CASES = [
    Case("1 thread, 100 Hz", 1, 0, 100),
    Case("1 thread, 1 kHz", 1, 0, 1000),
    Case("1 busy and 200 idle, 100 Hz", 1, 200, 100),
    Case("1,000 idle, 100 Hz", 0, 999, 100),
]
CONTROLS = [EMPTY_LOOP, BARE_READS]


def measure(bench):
    lengths = QUICK_LENGTHS if bench.quick else LENGTHS
    rounds = bench.rounds(ROUNDS)
    for python in bench.pythons(*PYTHONS):
        for case in bench.cases(CASES):
            controls = [EMPTY_LOOP] if case.idle else CONTROLS
            tools = bench.tools_for(python) + bench.controls_for(python, *controls)
            arguments = ["--depth", 20, "--threads", case.threads, "--idle", case.idle]
            for turn in range(rounds):
                # A new target each round: none outlives its time.
                for tool in tools:
                    with Target(bench, python, "busy.py", *arguments) as target:
                        # All threads are of interest where there is more than the main one.
                        everyone = bool(case.idle) and tool.name.startswith("Tachyon")
                        runs = [bench.record(tool, target, case.rate, length, idle=everyone) for length in lengths]
                    if all(runs):
                        used = runs[1].run.cpu - runs[0].run.cpu
                        value = 100 * used / (lengths[1] - lengths[0])
                        bench.keep(python=python.name, tool=tool.name, case=case.name, value=value)
                        where = f"{python.name}, {case.name}, round {turn + 1} of {rounds}"
                        bench.say(f"{where}: {tool.name}: {value:.2f} %")


def tables(records):
    loops = [r for r in records if r["tool"] in CONTROLS]
    others = [r for r in records if r["tool"] not in CONTROLS]
    ratios = [("firefinch", name) for name in CONTROLS]
    header, rows = pivot(others + loops, ["python", "case"], 2, ratios=ratios)
    about = (
        "Processor time in % of a core, median, target 20 frames deep. Waiting threads are left out where that is the "
        "profiler's default (firefinch, py-spy); austin takes them, Tachyon is asked for them (-a) where there are any."
    )
    return [Table("Own processor time", about, header, rows)]
