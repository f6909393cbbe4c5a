"""crates/cpython/src/layout/table.rs: its rows, read and written."""

import re
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "crates/cpython/src/layout/table.rs"
WIDTH = 100
BUILD_ORDER = ["Release", "Debug", "FreeThreaded", "FreeThreadedDebug"]

# These states grow at their ends from one patch release to the next, and by configure options that leave no trace
# in the headers (the tier 2 optimizer in 3.15, Py_TRACE_REFS): a difference is no contradiction.
GROWING = {"RuntimeSize", "InterpSize", "TstateSize"}


class Failure(Exception):
    """Something to tell the user in one line."""


def dotted(version):
    return ".".join(map(str, version))


def patch_of(release):
    """The third number of a PY_VERSION such as 3.14.10 or 3.15.0b1."""
    return int(re.match(r"\d+\.\d+\.(\d+)", release)[1])


class Row:
    """One version and build: what its headers say."""

    def __init__(self, version, build, headers, values):
        self.version, self.build, self.headers, self.values = version, build, headers, values
        self.patch = patch_of(headers)
        # Newest patch release first.
        self.order = (version, BUILD_ORDER.index(build), -self.patch)


class Offsets:
    """Positions in _Py_DebugOffsets of one version."""

    def __init__(self, version, headers, size, values):
        self.version, self.headers, self.size, self.values = version, headers, size, values


class Table:
    """All rows, all debug offsets, and the documentation of each field: {field: C expressions}."""

    def __init__(self, rows, offsets, docs):
        self.rows, self.offsets, self.docs = rows, offsets, docs

    @classmethod
    def read(cls):
        """The table as it is; empty if there is none."""
        text = TABLE.read_text() if TABLE.exists() else ""
        rows = re.findall(
            r'    Row \{ version: \((\d), (\d+)\), build: Build::(\w+), headers: "([^"]*)", values: &\[(.*?)\] \}',
            text,
            re.S,
        )
        offsets = re.findall(
            r"// ([^\s,]+), [^\n]*\n"
            r"    DebugOffsetsRow \{ version: \((\d), (\d+)\), size: (\d+), values: &\[(.*?)\] \}",
            text,
            re.S,
        )
        docs = re.findall(r"    /// ([^\n]*)\n    (\w+),\n", text)
        return cls(
            [
                Row((int(major), int(minor)), build, headers, pairs(values))
                for major, minor, build, headers, values in rows
            ],
            [
                Offsets((int(major), int(minor)), headers, int(size), pairs(values))
                for headers, major, minor, size, values in offsets
            ],
            {name: doc for doc, name in docs},
        )

    def releases(self):
        """{version: the newest release that its rows are from}."""
        return {row.version: row.headers for row in sorted(self.rows, key=lambda row: row.patch)}

    def row(self, version, build, patch):
        """The row that describes a patch release: the oldest that is not older than it, else the newest."""
        rows = [row for row in self.rows if (row.version, row.build) == (version, build)]
        rows.sort(key=lambda row: row.patch)
        return next((row for row in rows if row.patch >= patch), rows[-1] if rows else None)

    def positions(self, version):
        """The debug offsets of a version, or None."""
        return next((row for row in self.offsets if row.version == version), None)

    def expression(self, name, version):
        """A field's C expression in a version."""
        found = None
        for since, text in entries(self.docs.get(name, "")):
            if since is None or since <= version:
                found = text
        return found

    def merged(self, version, rows, offsets, expressions):
        """This table with new rows for a version."""
        docs = dict(self.docs)
        for name in {name for row in rows for name in row.values} | set(docs):
            versions = {row.version for row in self.rows if name in row.values and row.version != version}
            by_version = {other: self.expression(name, other) for other in versions}
            if name in expressions:
                by_version[version] = expressions[name]
            docs[name] = doc_line(by_version)
        return Table(
            [row for row in self.rows if row.version != version] + rows,
            [row for row in self.offsets if row.version != version] + ([offsets] if offsets else []),
            docs,
        )

    def render(self, order, source_of):
        """The text of table.rs, fields in the given order."""
        rows = sorted(self.rows, key=lambda row: row.order)
        used = {name for row in rows for name in row.values}
        if unknown := used - set(order):
            raise Failure(f"kept rows have fields that the probe no longer knows: {', '.join(sorted(unknown))}")
        order = [name for name in order if name in used]
        out = [*HEAD]
        for name in order:
            out += [f"    /// {self.docs[name]}.", f"    {name},"]
        out += ["}", "", "/// How many fields there are.", f"pub(super) const FIELD_COUNT: usize = {len(order)};", "", *ROWS]
        for row in rows:
            out += [
                f"    // {source_of(row)}",
                f"    Row {{ version: ({row.version[0]}, {row.version[1]}), build: Build::{row.build}, "
                f'headers: "{row.headers}", values: &[',
                *fill(row.values, order),
                "    ] },",
            ]
        out += ["];", "", *OFFSETS]
        for row in sorted(self.offsets, key=lambda row: row.version):
            out += [
                f"    // {row.headers}, the same in every build",
                f"    DebugOffsetsRow {{ version: ({row.version[0]}, {row.version[1]}), size: {row.size}, values: &[",
                *fill(row.values, order),
                "    ] },",
            ]
        return "\n".join([*out, "];", ""])


HEAD = """\
//! Where each CPython version keeps what. @generated by scripts/layouts from CPython's own headers:
//! do not edit. Offsets and sizes are bytes, for Linux on x86-64 (elsewhere a mutex has another size,
//! and what lies behind one another place).

use super::{Build, DebugOffsetsRow, Row};

/// A fact about a version's structures. Each variant gives the C expression whose value it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Field {""".split("\n")

ROWS = """\
/// One row for each version and build, values in the order of [`Field`]; a field that the build does
/// not have is absent. Where patch releases of a version differ, the newest comes first; of several
/// rows the oldest that is not older than the target describes it.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[""".split("\n")

OFFSETS = """\
/// For each version from 3.13 the position, in the `_Py_DebugOffsets` with which `_PyRuntime` begins,
/// of the `u64` that holds a field's value. A build without such a field (no value in its row) holds 0
/// there. In all of them the cookie is at 0, the version at 8 and the free-threaded flag at 16.
#[rustfmt::skip]
pub(super) static DEBUG_OFFSETS: &[DebugOffsetsRow] = &[""".split("\n")


def pairs(text):
    return {name: int(number) for name, number in re.findall(r"\(Field::(\w+), (\d+)\)", text)}


def fill(values, order):
    """Pairs in the order of the enum, as many to a line as fit."""
    lines, line = [], "       "
    for name in (name for name in order if name in values):
        item = f" (Field::{name}, {values[name]}),"
        if len(line) + len(item) > WIDTH:
            lines.append(line)
            line = "       "
        line += item
    return [*lines, line]


def entries(doc):
    """[(first version or None, expression)] of a documentation line made by doc_line."""
    found = []
    for part in doc.removesuffix(".").split("; "):
        if match := re.fullmatch(r"(?:from (\d)\.(\d+) )?`(.*)`", part):
            found.append((match[1] and (int(match[1]), int(match[2])), match[3]))
    return found


def doc_line(by_version):
    """`A`; from 3.13 `B`: the C expression of a field, from {version: expression}."""
    parts = []
    for version, expression in sorted(by_version.items()):
        if not parts or parts[-1][1] != expression:
            parts.append((version if parts else None, expression))
    return "; ".join((f"from {dotted(since)} " if since else "") + f"`{text}`" for since, text in parts)


def differences(old, new, ignored=()):
    """Lines for the fields in which two rows differ."""
    names = [name for name in [*new, *(name for name in old if name not in new)] if name not in ignored]
    return [f"{name} {old.get(name, '-')} -> {new.get(name, '-')}" for name in names if old.get(name) != new.get(name)]
