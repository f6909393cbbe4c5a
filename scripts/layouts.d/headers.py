"""CPython's installed headers: where they are, and what probe.c makes of them."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from table import Failure, Offsets, Row, dotted, patch_of

HERE = Path(__file__).resolve().parent
PROBE = HERE / "probe.c"
CC = os.environ.get("CC", "cc")

VERSIONS = [(2, 7)] + [(3, minor) for minor in range(6, 16)]

# Build kinds: name in the table, macros, first version that has it. Python's headers derive the rest
# (Py_DEBUG implies Py_REF_DEBUG, and to 3.7 Py_TRACE_REFS).
BUILDS = [
    ("Release", [], (2, 7)),
    ("Debug", ["Py_DEBUG"], (2, 7)),
    ("FreeThreaded", ["Py_GIL_DISABLED"], (3, 13)),
    ("FreeThreadedDebug", ["Py_GIL_DISABLED", "Py_DEBUG"], (3, 13)),
]

# Patch releases whose layout differs from later ones in fields that no _Py_DebugOffsets covers, made from the later
# headers by undoing the change: (version, last release before the change, header, text now, text then).
EARLIER = [
    # bpo-27987: 3.7.4 aligned PyGC_Head (objimpl.h) to 16 bytes, which moved all behind the GC state in _PyRuntime.
    ((3, 7), "3.7.3", "objimpl.h", "    long double dummy;", "    double dummy;"),
]


class Headers:
    """One directory with Python.h."""

    def __init__(self, include):
        self.include = include
        text = (include / "patchlevel.h").read_text(errors="replace")
        numbers = [re.search(rf"define\s+PY_{part}_VERSION\s+(\d+)", text) for part in ("MAJOR", "MINOR")]
        self.version = tuple(int(number[1]) for number in numbers)
        self.release = re.search(r'define\s+PY_VERSION\s+"([^"+]*)', text)[1]

    @classmethod
    def below(cls, directory):
        """All in `directory` itself and in pythonX.Y below it."""
        paths = [directory, *sorted(directory.glob("python[23].*"))]
        return [cls(path) for path in paths if (path / "Python.h").is_file() and (path / "patchlevel.h").is_file()]

    def compiler(self):
        """The command up to the build's macros. Debian's pyconfig.h names one relative to the parent directory."""
        command = [CC, "-I", str(self.include), "-idirafter", str(self.include.parent)]
        if self.version >= (3, 8):  # in 3.7 names in internal/ would hide public ones
            command += ["-I", str(self.include / "internal")]
        return command

    def plain(self):
        """Whether these are of a release build; the other builds are made from those by their macros."""
        command = [*self.compiler(), "-E", "-dM", "-include", "pyconfig.h", "-xc", os.devnull]
        macros = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return not re.search(r"#define (Py_DEBUG|Py_GIL_DISABLED) 1", macros)

    def undone(self, header, now, then, scratch):
        """The same with an older text in one header."""
        earlier = Path(scratch) / self.include.name
        earlier.mkdir()
        for path in self.include.iterdir():
            (earlier / path.name).symlink_to(path)
        text = (self.include / header).read_text()
        if text.count(now) != 1:
            raise Failure(f"{self.include / header}: expected one line {now.strip()!r}")
        (earlier / header).unlink()
        (earlier / header).write_text(text.replace(now, then))
        return Headers(earlier)

    def probe(self, macros):
        """({field: (value, expression)}, None or (size of _Py_DebugOffsets, {field: position in it}))."""
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "probe.s"
            command = [*self.compiler(), "-S", "-O2", "-w", "-o", str(out)]
            command += [f"-D{macro}=1" for macro in macros] + [str(PROBE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Failure(f"{self.release} {macros}: {self.include}:\n{done.stderr}")
            lines = [line[3:].split(" ", 3) for line in out.read_text().splitlines() if line.startswith("#> ")]
        fields, size, positions = {}, None, {}
        for tag, name, number, text in lines:
            if tag == "field":
                if not 0 <= int(number) < 1 << 32:
                    raise Failure(f"{self.release}: {name} = {number} does not fit 32 bits")
                fields[name] = (int(number), text)
            elif tag == "debug_size":
                size = int(number)
            elif tag == "debug":
                initial, member = text.split(" ", 1)
                positions[name] = int(number)
                # CPython's own initializer has to agree that this member means what the field means.
                expected = fields[name][0] if name in fields else 0
                if int(initial) != expected:
                    raise Failure(f"{self.release}: _Py_DebugOffsets.{member} is {initial}, {name} {expected}")
        return fields, (size, positions) if size else None

    def rows(self):
        """Every build of this version: (rows, debug offsets or None, {field: expression})."""
        rows, offsets, expressions = [], None, {}
        for build, macros, since in BUILDS:
            if self.version < since:
                continue
            fields, debug = self.probe(macros)
            rows.append(Row(self.version, build, self.release, values(fields)))
            for _, release, *change in (entry for entry in EARLIER if entry[0] == self.version):
                if patch_of(self.release) <= patch_of(release):
                    raise Failure(f"{self.include} is of {self.release}, headers later than {release} are needed")
                with tempfile.TemporaryDirectory() as scratch:
                    earlier, _ = self.undone(*change, scratch).probe(macros)
                rows.append(Row(self.version, build, release, values(earlier)))
            for name, (_, expression) in fields.items():
                expressions.setdefault(name, expression)
            if debug and offsets is None:
                offsets = Offsets(self.version, self.release, *debug)
            elif debug and debug != (offsets.size, offsets.values):
                raise Failure(f"{self.release}: _Py_DebugOffsets differs in the {build} build")
        return rows, offsets, expressions


def values(fields):
    return {name: value for name, (value, _) in fields.items()}


def source_of(row):
    """Where a row comes from, in words."""
    macros = dict((name, macros) for name, macros, _ in BUILDS)[row.build]
    header = next((entry[2] for entry in EARLIER if entry[1] == row.headers), None)
    source = f"Later headers with the {header} of CPython" if header else "Headers of CPython"
    return " ".join([source, row.headers, *(f"-D{macro}=1" for macro in macros)])


def field_order():
    """Field names in the order in which the probe's files first name them."""
    names = {}
    pattern = re.compile(r"^(?:OFF|SIZE|VAL|DBG)\((\w+),", re.M)
    for included in re.findall(r'^#include "(\w+\.inc)"', PROBE.read_text(), re.M):
        for name in pattern.findall((HERE / included).read_text()):
            names[name] = None
    return list(names)


def manifest():
    """Include directories of the interpreters that scripts/pythons has."""
    script = HERE.parent / "pythons"
    if not script.exists():
        return []
    done = subprocess.run([script, "list", "--json"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"layouts: {script.name} list --json: exit {done.returncode}, not used", file=sys.stderr)
        return []
    return [Path(entry["include"]) for entry in json.loads(done.stdout) if entry.get("include")]


def pyenv():
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return sorted(root.glob("versions/*/include"))


def given(text):
    """The headers named by X.Y=DIR."""
    name, _, directory = text.partition("=")
    below = Headers.below(Path(directory)) if directory else []
    for headers in below:
        if dotted(headers.version) == name:
            return headers
    there = ", ".join(headers.release for headers in below) or "none"
    raise Failure(f"--include {text}: expected X.Y=DIR with Python.h of X.Y in DIR; there: {there}")


def installed(wanted):
    """{version: headers} of what is here: the release in `wanted` ({version: release}), else the newest."""
    found = {}
    for directory in [*manifest(), *pyenv()]:
        for headers in Headers.below(directory):
            if headers.version in VERSIONS and headers.plain():
                found.setdefault(headers.version, []).append(headers)
    return {
        version: max(candidates, key=lambda each: (each.release == wanted.get(version), patch_of(each.release)))
        for version, candidates in found.items()
    }
