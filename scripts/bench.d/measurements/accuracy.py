"""Shares of time against a program that measures its own: 50, 30, 15 and 5 %.

tests/targets/shares.py. The error to expect by chance alone is that of so many independent samples: three standard
deviations of the binomial distribution.
"""

import json
import math

from table import Table, grouped, median, number
from target import Target

PYTHONS = ["3.8", "3.11", "3.13", "3.14", "3.15", "3.13t"]
RATE = 1000
SECONDS, QUICK_SECONDS = 10, 3
ROUNDS = 3
SIGMAS = 3


def measure(bench):
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    rounds = bench.rounds(ROUNDS)
    for python in bench.pythons(*PYTHONS):
        tools = bench.tools_for(python)
        for turn in range(rounds):
            for tool in tools:
                # A target for each recording: what it says of its shares is about its whole life.
                with Target(bench, python, "shares.py", "--seconds", seconds + 30) as target:
                    recording = bench.record(tool, target, RATE, seconds)
                    spent = json.loads(target.end().splitlines()[-1].partition(" ")[2])
                if recording:
                    keep(bench, python, tool, recording, spent)
                    bench.say(f"{python.name}, round {turn + 1} of {rounds}: {tool.name}")


def keep(bench, python, tool, recording, spent):
    seen = dict.fromkeys(spent, 0)
    total = 0
    for stack, count in recording.stacks.items():
        names = [name for name, _ in stack]
        if "run" in names and "_bootstrap" not in names:
            total += count
            function = names[-1] if names[-1] in seen else "elsewhere"
            seen[function] += count
    samples = min(recording.counts["samples"], total)
    if not samples:
        return
    errors = {name: seen[name] / total - share for name, share in spent.items() if name != "elsewhere"}
    worst = max(errors, key=lambda name: abs(errors[name]))
    sigma = {name: math.sqrt(spent[name] * (1 - spent[name]) / samples) for name in errors}
    bench.keep(
        python=python.name, tool=tool.name, samples=samples, value=100 * abs(errors[worst]), worst=worst,
        bound=100 * SIGMAS * sigma[worst], sigmas=max(abs(errors[name]) / sigma[name] for name in errors),
    )  # fmt: skip


def tables(records):
    rows = []
    for (python, tool), group in grouped(records, "python", "tool").items():
        middle = {key: median([r[key] for r in group]) for key in ("samples", "value", "bound", "sigmas")}
        most = max(r["value"] for r in group)
        cells = [number(middle["value"], 2), number(most, 2), number(middle["bound"], 2), number(middle["sigmas"], 1)]
        rows.append([python, tool, len(group), number(middle["samples"]), *cells])
    header = ["Python", "Tool", "runs", "samples", "largest error", "in any run", "bound", "σ"]
    about = (
        "The largest error of a share, in percentage points, median of the runs and the worst of them; the error that "
        f"chance allows that function ({SIGMAS} σ of as many independent samples); the largest error in σ, median."
    )
    return [Table("Shares of time", about, header, rows)]
