"""What a target loses while it is profiled, as it sees it itself.

programs/work.py counts its own turns of work and the gaps in its view of the clock. Windows with a profiler and
without one alternate; each is compared with the mean of its two neighbours without. The empty loop is a control: it
touches nothing of the target, so what it seems to cost is the machine's noise.

Where stacks are native the target is stopped, which may be done best from its own core: there profilers may use any.
"""

import json
import time
from bisect import bisect_left
from dataclasses import dataclass

from table import Table, grouped, median, number, spread
from target import Target
from tools.controls import EMPTY_LOOP
from tools.tool import Live

PYTHONS = ["3.11", "3.15"]
WINDOW, QUICK_WINDOW = 2.0, 1.0
# A window begins when the profiler samples at full rate: the slowest to start takes a third of a second.
SETTLE = 0.6
AFTER = 0.2  # between its end and the window without it
ROUNDS = 6


@dataclass
class Case:
    name: str
    rate: int
    idle: int
    native: bool = False


CASES = [
    Case("100 Hz", 100, 0),
    Case("1 kHz", 1000, 0),
    Case("200 idle, 100 Hz", 100, 200),
    Case("200 idle, 1 kHz", 1000, 200),
    Case("native, 100 Hz", 100, 0, native=True),
    Case("native, 1 kHz", 1000, 0, native=True),
    Case("native, 200 idle, 100 Hz", 100, 200, native=True),
]


def measure(bench):
    for python in bench.pythons(*PYTHONS):
        for case in bench.cases(CASES):
            tools = bench.tools_for(python, native=case.native) + bench.controls_for(python, EMPTY_LOOP)
            with Target(bench, python, "work.py", "--idle", case.idle) as target:
                windows = []
                try:
                    alternate(bench, tools, target, case, windows)
                finally:
                    # What the target saw is known at its end only, and of use after an interruption too.
                    keep(bench, python, case, windows, Inside(json.loads(target.end().splitlines()[-1])))


def alternate(bench, tools, target, case, windows):
    """Adds pairs of (tool's name or None, its window)."""
    window = QUICK_WINDOW if bench.quick else WINDOW
    rounds = bench.rounds(ROUNDS)
    for turn in range(rounds):
        bench.say(f"{target.python.name}, {case.name}, round {turn + 1} of {rounds}: {len(tools)} tools")
        for tool in tools:
            everyone = bool(case.idle) and tool.name.startswith("Tachyon")
            windows.append((None, passing(window)))
            windows.append((tool.name, profiled(bench, tool, target, case, window, everyone)))
            time.sleep(AFTER)
    windows.append((None, passing(window)))


def passing(seconds):
    begun = time.monotonic_ns()
    time.sleep(seconds)
    return begun, time.monotonic_ns()


def profiled(bench, tool, target, case, window, everyone):
    """The window, or None where the profiler failed."""
    on = bench.cores.all if case.native else None
    live = Live(tool, bench, target.pid, case.rate, SETTLE + window + 1, everyone, on)
    try:
        time.sleep(SETTLE)
        times = passing(window)
        running = not live.child.poll()
        live.child.stop()
    except BaseException:
        live.kill()
        raise
    failure = live.end().failure
    if tool.name == EMPTY_LOOP:
        failure = None  # it was ended by the signal
    if failure or not running:
        bench.note(failure or "ended too early", tool, target.python)
        return None
    return times


class Inside:
    """What the target saw."""

    def __init__(self, seen):
        self.times = [time for time, _ in seen["marks"]]
        self.turns = [turns for _, turns in seen["marks"]]
        self.gaps = seen["gaps"]
        self.starts = [start for start, _ in self.gaps]

    def turns_at(self, at):
        """Turns done at a time, between the two marks around it."""
        after = min(max(1, bisect_left(self.times, at)), len(self.times) - 1)
        t0, t1 = self.times[after - 1 : after + 1]
        n0, n1 = self.turns[after - 1 : after + 1]
        return n0 + (n1 - n0) * (at - t0) / (t1 - t0)

    def rate(self, times):
        return (self.turns_at(times[1]) - self.turns_at(times[0])) / (times[1] - times[0]) * 1e9

    def gaps_in(self, times):
        """Gaps a second, and ms a second in them."""
        inside = self.gaps[bisect_left(self.starts, times[0]) : bisect_left(self.starts, times[1])]
        seconds = (times[1] - times[0]) / 1e9
        return len(inside) / seconds, sum(length for _, length in inside) / 1e6 / seconds


def keep(bench, python, case, windows, inside):
    for before, (tool, times), after in zip(windows, windows[1:], windows[2:]):
        if tool is None or times is None:
            continue
        free = (inside.rate(before[1]) + inside.rate(after[1])) / 2
        gaps, lost = inside.gaps_in(times)
        around = [inside.gaps_in(each[1]) for each in (before, after)]
        bench.keep(
            python=python.name, tool=tool, case=case.name, value=100 * (1 - inside.rate(times) / free), gaps=gaps,
            in_gaps=lost, gaps_free=sum(g for g, _ in around) / 2, in_gaps_free=sum(ms for _, ms in around) / 2,
        )  # fmt: skip


def tables(records):
    rows = []
    for (python, case, tool), group in grouped(records, "python", "case", "tool").items():
        columns = [[r[key] for r in group] for key in ("gaps", "gaps_free", "in_gaps", "in_gaps_free")]
        shown = [number(median(values), digits) for values, digits in zip(columns, (0, 0, 1, 1))]
        stood = [(r["in_gaps"] - r["in_gaps_free"]) / 10 for r in group]
        work = [r["value"] for r in group]
        rows.append([python, case, tool, len(group), spread(stood, 2), spread(work, 2), *shown])
    header = ["Python", "Case", "Tool", "windows", "stood still, % (quartiles)", "work lost, % (quartiles)"]
    header += ["gaps/s", "without", "ms/s in gaps", "without"]
    about = (
        "By how much longer the target's thread stands still while it is profiled, and how much less work it does, "
        "median and quartiles over windows; a negative figure is noise, of which work has more, as a machine is not "
        "always equally fast. Gaps are moments of more than 5 µs in which the thread did not run."
    )
    return [Table("What the target loses", about, header, rows)]
