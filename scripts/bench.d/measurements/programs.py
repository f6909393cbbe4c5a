"""What profilers show of everyday programs, beside stops at moments that have nothing to do with what the program does.

The programs are benchmarks of the pyperformance suite, from the package registry. The truth is firefinch --blocking
that runs on the target's own core: the timer that wakes it up there interrupts the target wherever it is, while an
interrupt from another core arrives late, and so in system calls too often. A quarter of the samples may be of other
functions, and still no single stack be wrong.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from failure import Failure
from peers import install
from table import Table, grouped, number
from target import Target
from tools.tool import Live

PYTHONS = ["3.8", "3.11", "3.12", "3.13"]
RATE = 1_000
SECONDS, QUICK_SECONDS = 3, 2
# Where a tool looks otherwise at a lower rate, that is measured for longer.
LOWER, LONGER = 100, 4
ROUNDS = 2
TRUTH = "firefinch --blocking"
PROGRAMS = [
    ["async_generators"], ["async_tree", "none"], ["chaos"], ["comprehensions"], ["coroutines"], ["deepcopy"],
    ["deltablue"], ["generators"], ["go"], ["hexiom"], ["logging", "simple"], ["nqueens"], ["pathlib"], ["pprint"],
    ["pyflate"], ["raytrace"], ["regex_compile"], ["richards"], ["typing_runtime_protocols"], ["xml_etree"],
]  # fmt: skip
MOST = 2


def measure(bench):
    directory = suite(bench)
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    for python in bench.pythons(*PYTHONS):
        if python.root != "/":
            bench.note(f"{python.name}: sees another root, where the suite is not")
            continue
        truth = next((tool for tool in bench.tools_for(python) if tool.name == TRUTH), None)
        if truth is None:
            bench.note(f"{python.name}: {TRUTH} was not asked for, and is the truth")
            continue
        tools = [tool for tool in bench.tools_for(python) if tool is not truth]
        for name, *arguments in PROGRAMS:
            if bench.options.case not in name:
                continue
            try:
                compare(bench, python, (name, directory / f"bm_{name}", arguments), (truth, tools), seconds)
            except Failure as failure:
                # Some need a newer version.
                bench.say(f"{failure.what}: {failure.evidence}")


def suite(bench):
    """Where the benchmarks are."""
    why = install("pyperformance", bench.peers.venv, [sys.executable])
    if why:
        raise Failure("pyperformance is not here", why, "see whether the package registry can be reached")
    asked = [bench.peers.venv / "bin/python", "-c", "import pyperformance as p; print(p.__file__)"]
    found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    return Path(found).parent / "data-files/benchmarks"


def compare(bench, python, program, profilers, seconds):
    (name, path, arguments), (truth, tools) = program, profilers
    with Target(bench, python, "suite.py", path, *arguments) as target:
        for turn in range(bench.rounds(ROUNDS)):
            for tool, rate in [(truth, RATE), *looks(tools), (truth, RATE)]:
                on = bench.cores.target if tool is truth else None
                longer = 1 if rate == RATE else LONGER
                recording = Live(tool, bench, target.pid, rate, longer * seconds, on=on).end()
                if recording.failure:
                    bench.note(recording.failure, tool, python)
                    continue
                newest = Counter()
                for stack, count in recording.stacks.items():
                    if stack[-1][0] != "end_with_stdin":
                        newest[stack[-1][0]] += count
                bench.keep(
                    python=python.name, program=name, tool=tool.name, rate=rate, newest=newest,
                    samples=recording.counts["samples"], lost=recording.counts["lost"],
                )  # fmt: skip
            bench.say(f"{python.name}, {name}, round {turn + 1}")


def looks(tools):
    """Each tool with the rates that it is measured at."""
    for tool in tools:
        yield tool, RATE
        if tool.goes_near(LOWER):
            yield tool, LOWER


def shares(group):
    newest = Counter()
    for record in group:
        newest.update(record["newest"])
    total = sum(newest.values()) or 1
    return {name: 100 * count / total for name, count in newest.items()}


def apart(one, other):
    """Of how many samples in 100 the innermost function would have to be another."""
    return sum(abs(one.get(name, 0) - other.get(name, 0)) for name in one.keys() | other.keys()) / 2


def tables(records):
    rows = []
    records = [record for record in records if "program" in record]
    for (python, program), of_program in grouped(records, "python", "program").items():
        by_tool = grouped(of_program, "tool", "rate")
        truth = by_tool.pop((TRUTH, RATE), None)
        if not truth:
            continue
        is_true = shares(truth)
        chance = apart(shares(truth[::2]), shares(truth[1::2]))
        for (tool, rate), group in by_tool.items():
            seen = shares(group)
            names = sorted(seen.keys() | is_true.keys(), key=lambda n: -abs(seen.get(n, 0) - is_true.get(n, 0)))
            worst = [f"{n} {number(seen.get(n, 0), 1)} for {number(is_true.get(n, 0), 1)}" for n in names[:MOST]]
            samples, lost = sum(r["samples"] for r in group), sum(r["lost"] or 0 for r in group)
            missing = "" if group[0]["lost"] is None else number(100 * lost / max(1, samples + lost), 1)
            rows.append([python, program, tool, rate, number(apart(seen, is_true), 1), number(chance, 1), missing, *worst])
    about = (
        f"In alternation with {TRUTH} at {RATE:,} Hz from the target's core. Of how many % of the samples the innermost "
        "function would have to be another one for the same shares, that between two halves of the truth, and the "
        "functions that are furthest off, in %."
    )
    header = ["Python", "Program", "Tool", "Hz", "apart, %", "by chance", "lost %", "furthest off", "then"]
    return [Table("Innermost functions of everyday programs", about, header, rows)]
