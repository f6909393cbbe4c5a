"""Impossible stacks, lost samples and survivor bias, on a program that only calls and returns.

tests/targets/oracle_calls.py says which calls there can be. Without stops a stack may be torn between two moments
(an impossible one), refused (lost), or stale; a sampler that refuses what moves sees too little of short calls. The
latter two show in the share of time at each level against the same target seen with stops, in alternating windows.
"""

from collections import Counter

from oracle import LEVELS, Oracle, level
from table import Table, grouped, number, share
from target import Target

PYTHONS = ["3.8", "3.11", "3.13", "3.14", "3.15", "3.13t"]
FAST, SLOW = 20_000, 1_000
PIECE = 5  # seconds of a recording at the high rate: then attach anew
SAMPLES, QUICK_SAMPLES = 100_000, 20_000
WINDOW, QUICK_WINDOW = 5, 2
ROUNDS = 4
EXAMPLES = 3


def measure(bench):
    wanted = bench.options.samples or (QUICK_SAMPLES if bench.quick else SAMPLES)
    for python in bench.pythons(*PYTHONS):
        with Target(bench, python, "oracle_calls.py") as target:
            if bench.options.case in "high rate":
                fast(bench, python, target, wanted)
            if bench.options.case in "1 kHz":
                slow(bench, python, target)


def fast(bench, python, target, wanted):
    """Many samples of ours, and of what else does not stop the target."""
    for tool in bench.tools_for(python, lambda tool: not tool.stops and "firefinch" in tool.name):
        done, pieces = 0, 0
        while done < wanted and pieces < 4 * (1 + wanted // (FAST * PIECE)):
            seconds = min(PIECE, max(0.2, (wanted - done) / FAST))
            recording = bench.record(tool, target, FAST, seconds)
            if recording is None or not recording.counts["samples"]:
                break
            keep(bench, python, tool, target, recording, "high rate")
            done, pieces = done + recording.counts["samples"], pieces + 1
            bench.say(f"{python.name} {tool.name} at {FAST} Hz: {done:,} of {wanted:,} samples")


def slow(bench, python, target):
    tools = bench.tools_for(python)
    seconds = QUICK_WINDOW if bench.quick else WINDOW
    rounds = bench.rounds(ROUNDS)
    for turn in range(rounds):
        for tool in tools:
            bench.say(f"{python.name} at {SLOW} Hz, round {turn + 1} of {rounds}: {tool.name}")
            recording = bench.record(tool, target, SLOW, seconds)
            if recording:
                keep(bench, python, tool, target, recording, "1 kHz")


def keep(bench, python, tool, target, recording, part):
    oracle = Oracle(target.truth)
    wrong, levels = Counter(), Counter()
    total = 0
    for stack, count in recording.stacks.items():
        objection = oracle.objection(stack)
        if not objection and not level(stack):
            continue  # the thread that waits, where a profiler takes those, too
        total += count
        if objection:
            wrong[objection] += count
        else:
            levels[level(stack)] += count
    counts = recording.counts
    samples = min(total, counts["samples"])
    bench.keep(
        python=python.name, tool=tool.name, part=part, total=total, wrong=sum(wrong.values()),
        examples=wrong.most_common(EXAMPLES), levels=levels, samples=samples, lost=counts["lost"],
        missed=counts["missed"], why=counts.get("why", ""),
    )  # fmt: skip


def tables(records):
    parts = grouped(records, "part")
    return [table for key, make in ((("high rate",), fast_table), (("1 kHz",), slow_table)) if key in parts
            for table in [make(parts[key])]]  # fmt: skip


def losses(group):
    """Impossible, lost and missed of a group of records, in %."""
    total, wrong = sum(r["total"] for r in group), sum(r["wrong"] for r in group)
    samples = sum(r["samples"] for r in group)
    lost = sum(r["lost"] for r in group) if all(r["lost"] is not None for r in group) else None
    missed = sum(r["missed"] for r in group)
    return [
        number(samples), number(wrong), share(wrong, total, 4),
        "" if lost is None else share(lost, samples + lost), share(missed, samples + (lost or 0) + missed),
    ]  # fmt: skip


COUNTED = ["samples", "impossible", "impossible %", "lost %", "missed %"]
READING = (
    "Impossible stacks are counted as they weigh in the output: in ticks, where a late sample stands for those missed."
)


def fast_table(records):
    rows, notes = [], []
    for (python, tool), group in grouped(records, "python", "tool").items():
        rows.append([python, tool, *losses(group)])
        notes += examples(python, tool, group)
    about = f"Call churn, at {FAST:,} Hz, without stops. {READING}"
    return Table("Truth of stacks, many samples", about, ["Python", "Tool", *COUNTED], rows, notes)


def examples(python, tool, group):
    wrong = Counter()
    for record in group:
        wrong.update(dict(record["examples"]))
    return [f"{tool} on {python}: {count} times {what}" for what, count in wrong.most_common(EXAMPLES)]


def slow_table(records):
    rows, notes = [], []
    for (python,), of_python in grouped(records, "python").items():
        truth = shares([r for r in of_python if r["tool"] == "firefinch --blocking"])
        for (tool,), group in grouped(of_python, "tool").items():
            seen = shares(group)
            most = max((abs(seen[name] - truth[name]) for name in LEVELS), default=None) if seen and truth else None
            shown = " / ".join(number(seen[name], 1) for name in LEVELS) if seen else ""
            difference = "" if tool == "firefinch --blocking" else number(most, 1)
            rows.append([python, tool, *losses(group), shown, difference])
        if not truth:
            notes.append(f"{python}: no differences, as firefinch --blocking was not measured")
    names = " / ".join(name.rstrip("_") for name in LEVELS)
    about = (
        f"Call churn, at {SLOW:,} Hz, tools in alternation. {READING} The share of time in % that each level is "
        "innermost, and the largest difference in percentage points from what firefinch --blocking sees."
    )
    header = ["Python", "Tool", *COUNTED, names, "difference"]
    return Table("Truth of stacks and shares", about, header, rows, notes)


def shares(group):
    levels = Counter()
    for record in group:
        levels.update(record["levels"])
    total = sum(levels.values())
    return {name: 100 * levels[name] / total for name in LEVELS} if total else None
