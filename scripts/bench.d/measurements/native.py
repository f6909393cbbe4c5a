"""Native stacks of a program that computes in NumPy, at 1 kHz.

programs/numeric.py sorts, and takes sines and exponentials, each in a Python function of its own: a native frame of
one of these below the function of another would be wrong. How many stacks go down to the thread's first function, and
how many frames have a name, is what firefinch itself says; the others do not.
"""

import re

from table import Table, grouped, number, share
from target import Target

PYTHONS = ["3.11"]
RATE = 1000
SECONDS, QUICK_SECONDS = 10, 3
ROUNDS = 3
# What NumPy's kernels of each function have in their names.
KERNELS = {
    "sorting": re.compile("sort|partition", re.IGNORECASE),
    "sines": re.compile("(^|_)(sin|cos|sincos)(_|$)", re.IGNORECASE),
    "exponentials": re.compile("(^|_)exp(_|$)", re.IGNORECASE),
}


def measure(bench):
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    for python in bench.pythons(*PYTHONS):
        tools = bench.tools_for(python, native=True)
        site, why = bench.peers.numpy(python)
        if why:
            bench.note(f"{python.name}: no NumPy: {why}")
            continue
        with Target(bench, python, "numeric.py", "--site", site) as target:
            for turn in range(bench.rounds(ROUNDS)):
                for tool in tools:
                    bench.say(f"{python.name}, round {turn + 1}: {tool.name}")
                    recording = bench.record(tool, target, RATE, seconds)
                    if recording:
                        keep(bench, python, tool, recording)


def keep(bench, python, tool, recording):
    placed = misplaced = 0
    for stack, count in recording.stacks.items():
        names = [name for name, _ in stack]
        others = [name for name in names if name not in KERNELS]
        of = {kernel for kernel, pattern in KERNELS.items() if any(map(pattern.search, others))}
        callers = KERNELS.keys() & set(names)
        placed += count if of and of == callers else 0
        misplaced += count if of - callers else 0
    counts = recording.counts
    bench.keep(
        python=python.name, tool=tool.name, total=sum(recording.stacks.values()), samples=counts["samples"],
        lost=counts["lost"], placed=placed, misplaced=misplaced, **tool.quality(recording),
    )  # fmt: skip


def tables(records):
    rows = []
    for (python, tool), group in grouped(records, "python", "tool").items():
        total, samples, lost = (sum(r[key] for r in group) for key in ("total", "samples", "lost"))
        placed, misplaced = (sum(r[key] for r in group) for key in ("placed", "misplaced"))
        worst = [min((r[key] for r in group if key in r), default=None) for key in ("rooted", "named", "merged")]
        said = [number(value, 1) for value in worst]
        where = [share(placed, total, 1), number(misplaced)]
        rows.append([python, tool, number(samples), share(lost, samples + lost), *said, *where])
    header = ["Python", "Tool", "samples", "lost %", "rooted %", "named %", "merged whole %", "in their function %"]
    header += ["in another's"]
    about = (
        "Samples and losses over all rounds; of what firefinch says of its stacks the worst round. The last two "
        "columns: samples with a kernel of NumPy below the Python function that calls it, and below another."
    )
    return [Table("Native stacks", about, header, rows)]
