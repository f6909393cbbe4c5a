"""Native stacks of a program that computes in NumPy, at 1 kHz.

programs/numeric.py sorts, and takes sines and exponentials, each in a Python function of its own: a native frame of
one of these below the function of another would be wrong. How many stacks go down to the thread's first function, and
how many frames have a name, is what firefinch itself says; the others do not.

Beside it perf looks at the same process in turn, with all of the stack copied, and has the last word on which function
can call which: who calls whom in one of our stacks must be known to perf, unless it is so rare that perf may have
missed it. The same question is asked of perf's stacks: where stacks are right, those with something that only one of
the two has seen are as rare in both.
"""

import re
from collections import Counter

from agreement import EXPECTED, NOTEWORTHY, Seen, pure
from table import Table, grouped, number, share
from target import Target
from tools.perf import Perf

PYTHONS = ["3.11"]
RATE = 1000
SECONDS, QUICK_SECONDS = 10, 3
ROUNDS = 3
PERF_RATE = 499
PERF_SECONDS, PERF_ROUNDS = 5, 6
EXAMPLES = 4
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
            compare(bench, python, target)


def compare(bench, python, target):
    """Looks with perf and with each of ours in turn, and has perf judge."""
    perf = Perf()
    ours = [tool.native_stacks() for tool in bench.tools if tool.name == "firefinch --native"]
    if perf.missing:
        bench.note(f"not compared with perf: {perf.missing}")
        return
    found = {tool: Counter() for tool in [perf, *ours]}
    if not ours:
        return
    for turn in range(bench.rounds(PERF_ROUNDS)):
        for tool, stacks in found.items():
            bench.say(f"{python.name}, beside perf, round {turn + 1}: {tool.name}")
            recording = bench.record(tool, target, PERF_RATE, QUICK_SECONDS if bench.quick else PERF_SECONDS)
            if recording is None:
                return
            stacks.update(pure(recording.stacks))
    seen = {tool: Seen(stacks) for tool, stacks in found.items()}
    for tool, own in seen.items():
        judge = seen[perf] if tool is not perf else seen[ours[0]]
        bench.keep(part="perf", python=python.name, tool=tool.name, **judged(own, judge))


def judged(own, judge):
    differences = own.differences(judge)
    return dict(
        total=own.total, rooted=own.rooted(), edges=len(own.edges), unseen=own.unseen(judge),
        contradicted=own.contradicted(judge), impossible=named(own.impossible(judge)),
        unknown=sorted(own.unknown(judge).items(), key=lambda item: -item[1]), functions=len(differences),
        most=max(differences.items(), key=lambda item: abs(item[1][2]), default=None),
        rare=named(own.only(judge)),
    )  # fmt: skip


def named(edges):
    most = sorted(edges.items(), key=lambda item: -item[1])[:EXAMPLES]
    return [(f"{caller} calls {callee}", count) for (caller, callee), count in most]


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
    parts = grouped([{"part": "", **record} for record in records], "part")
    made = {"": quality_table, "perf": perf_table}
    return [made[part](group) for (part,), group in parts.items()]


def quality_table(records):
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
    return Table("Native stacks", about, header, rows)


def perf_table(records):
    rows, notes = [], []
    for record in records:
        python, tool, total = record["python"], record["tool"], record["total"]
        name, (here, there, errors) = record["most"] or ("", (0, 0, 0))
        most = f"{name} {100 * here:.1f}, not {100 * there:.1f} ({abs(errors):.1f})" if name else ""
        rows.append([python, tool, number(total), share(record["rooted"], total), number(record["edges"])])
        rows[-1] += [share(record["unseen"], total), number(record["contradicted"]), number(record["functions"]), most]
        for what in ("impossible", "rare"):
            notes += [f"{tool} on {python}, {what}: {count} times {edge}" for edge, count in record[what]]
        notes += [f"{tool} on {python}: {name} ({count} stacks) is not known to the other by that name"
                  for name, count in record["unknown"][:EXAMPLES]]  # fmt: skip
    header = ["Python", "Tool", "stacks", "down to the root %", "different calls", "with a call only it saw %"]
    header += ["contradicted", "functions", "largest difference of a function's share, % (standard errors)"]
    about = (
        "All native frames, inlined functions too, by their names. Contradicted: stacks in which a function calls "
        f"another where the other profiler knows both, should have seen that {EXPECTED} times by its share, and never "
        f"did. Shares are of stacks with a function anywhere, of functions in {100 * NOTEWORTHY:.0f} % of stacks."
    )
    return Table("Native stacks beside perf", about, header, rows, notes)
