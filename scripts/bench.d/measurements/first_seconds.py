"""Shares in the first seconds of a recording, of a program that measures its own.

tests/targets/many_calls.py goes between a scanner of few calls and a parser of some 4,000. A profiler that has to
learn which calls there are, or shows what it can read in place of what it cannot, shows too much of the scanner.
"""

import json
import math

from table import Table, grouped, median, number
from target import Target

PYTHONS = ["3.8", "3.11", "3.13", "3.14", "3.15", "3.13t"]
RATE = 100
SECONDS, QUICK_SECONDS = 6, 2
ROUNDS = 3
SIGMAS = 3
PHASES = ("scan", "parse")


def measure(bench):
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    rounds = bench.rounds(ROUNDS)
    for python in bench.pythons(*PYTHONS):
        tools = bench.tools_for(python)
        for turn in range(rounds):
            for tool in tools:
                # A target for each recording: what it says of its shares is about its whole life.
                with Target(bench, python, "many_calls.py") as target:
                    recording = bench.record(tool, target, RATE, seconds)
                    spent = json.loads(target.end().splitlines()[-1].partition(" ")[2])
                if recording:
                    keep(bench, python, tool, recording, spent)
                    bench.say(f"{python.name}, round {turn + 1} of {rounds}: {tool.name}")


def keep(bench, python, tool, recording, spent):
    seen = dict.fromkeys(PHASES, 0)
    for stack, count in recording.stacks.items():
        phase = next((name for name, _ in stack if name in seen), None)
        if phase:
            seen[phase] += count
    total = sum(seen.values())
    if not total:
        return
    share = seen["scan"] / total
    sigma = math.sqrt(spent["scan"] * (1 - spent["scan"]) / min(recording.counts["samples"], total))
    bench.keep(
        python=python.name, tool=tool.name, samples=total, truth=100 * spent["scan"], value=100 * share,
        off=100 * (share - spent["scan"]), bound=100 * SIGMAS * sigma,
    )  # fmt: skip


def tables(records):
    rows = []
    for (python, tool), group in grouped(records, "python", "tool").items():
        middle = {key: median([r[key] for r in group]) for key in ("samples", "truth", "value", "off", "bound")}
        worst = max((r["off"] for r in group), key=abs)
        cells = [number(middle[key], 1) for key in ("truth", "value", "off")] + [number(worst, 1)]
        rows.append([python, tool, len(group), number(middle["samples"]), *cells, number(middle["bound"], 1)])
    header = ["Python", "Tool", "runs", "samples", "truth %", "shown %", "off", "in the worst run", "bound"]
    about = (
        f"The share of a scanner beside a parser of many functions in recordings of {SECONDS} s at {RATE} Hz, medians; "
        f"by how many points it is off; what chance allows ({SIGMAS} σ of as many independent samples)."
    )
    return [Table("Shares in the first seconds", about, header, rows)]
