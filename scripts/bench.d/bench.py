"""What every measurement needs: interpreters, tools, cores, and a place for what it finds."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from target import Target

TOP = Path(__file__).resolve().parents[2]
PROBE_RATE, PROBE_SECONDS = 100, 0.7


@dataclass
class Interpreter:
    """As `scripts/pythons list --json` describes it."""

    name: str
    version: str
    command: list
    root: str
    free_threaded: bool

    @property
    def minor(self):
        return tuple(int(part) for part in self.version.split(".")[:2])


def interpreters():
    listed = subprocess.run([TOP / "scripts/pythons", "list", "--json"], check=True, capture_output=True, text=True)
    keys = Interpreter.__dataclass_fields__
    return [Interpreter(**{key: entry[key] for key in keys}) for entry in json.loads(listed.stdout)]


class Bench:
    """One call of scripts/bench."""

    def __init__(self, options, cores, programs, found, results):
        self.options, self.cores, self.programs, self.results = options, cores, programs, results
        self.interpreters = {python.name: python for python in found}
        self.peers = None  # once it is known: who gets other profilers, and what targets need
        self.tools = []
        self.controls = {}  # by their names
        self.measurement = ""
        self.verdicts = {}  # of each tool on each interpreter: None, or why it does not work

    @property
    def quick(self):
        return self.options.quick

    def rounds(self, usual):
        return self.options.rounds or (1 if self.quick else usual)

    def say(self, text):
        where = f"{self.measurement}: " if self.measurement else ""
        print(f"bench: {where}{text}", file=sys.stderr, flush=True)

    def keep(self, **record):
        self.results.keep(self.measurement, record)

    def note(self, text, tool=None, python=None):
        """Something the reader of the table must know, of everything or of a tool."""
        note = {"note": text, "tool": tool and tool.name, "python": python and python.name}
        if not any(note.items() <= record.items() for record in self.results.of(self.measurement)):
            self.say(": ".join([*([tool.name] if tool else []), *([python.name] if python else []), text]))
            self.keep(**note)

    def pythons(self, *usual):
        """The chosen interpreters, else the usual ones, as far as they are here."""
        for name in self.options.python or usual:
            if name in self.interpreters:
                yield self.interpreters[name]
            else:
                self.note(f"{name}: no such interpreter here: scripts/pythons ensure {name}")

    def cases(self, cases):
        """Those whose name has the text of --case in it."""
        return [case for case in cases if self.options.case in case.name]

    def tools_for(self, python, wanted=lambda tool: True, native=False):
        """The chosen tools that work on this interpreter, for Python alone or native frames too. Those that do not are
        noted."""
        tools = [tool for tool in self.tools if tool.native == native and wanted(tool)]
        return [tool for tool in tools if self.works(tool, python)]

    def controls_for(self, python, *names):
        """These controls, if they can be had."""
        return [self.controls[name] for name in names if self.works(self.controls[name], python)]

    def works(self, tool, python):
        key = (tool.name, python.name)
        if key not in self.verdicts:
            self.verdicts[key] = tool.missing or tool.refuses(python) or self.probe(tool, python)
        why = self.verdicts[key]
        if why:
            self.note(f"not had here: {why}" if tool.missing else why, tool, None if tool.missing else python)
        return not why

    def probe(self, tool, python):
        """Whether it sees anything of a target that is easy to see."""
        if tool in self.controls.values():
            return None
        with Target(self, python, "busy.py") as target:
            recording = tool.record(self, target.pid, PROBE_RATE, PROBE_SECONDS, idle=True)
        if recording.failure:
            return recording.failure
        seen = any("level_1" in [name for name, _ in stack] for stack in recording.stacks)
        return None if seen else "no stack in its output is one of the target"

    def record(self, tool, target, rate, seconds, **more):
        """A recording that worked, or None and a note."""
        recording = tool.record(self, target.pid, rate, seconds, **more)
        if recording.failure:
            self.note(recording.failure, tool, target.python)
            return None
        return recording
