"""Stacks as profilers write them, brought to one shape: a Counter of tuples of (function, line), oldest first."""

import re
from collections import Counter

PLACE = re.compile(r"(?P<name>.*) \((?P<file>[^()]*?)(?::(?P<line>\d+))?\)$")


def plain(name):
    """The function's own name, without its class: not every version and profiler has the qualified one."""
    return name.rpartition(".")[2]


def collapsed(text, frame):
    """`frame;frame count` a line; `frame` reads one, or gives None for what is no function."""
    stacks, cache = Counter(), {}
    for line in text.splitlines():
        names, _, count = line.rpartition(" ")
        if not count.isdigit():
            continue
        places = []
        for name in names.split(";"):
            if name not in cache:
                cache[name] = frame(name)
            if cache[name] is not None:
                places.append(cache[name])
        if places:
            stacks[tuple(places)] += int(count)
    return stacks


def name_file_line(text):
    """`Class.function (file.py:12)`"""
    found = PLACE.match(text)
    return (plain(found["name"]), int(found["line"] or 0)) if found else None


def native_name(text):
    """`function (libz.so.1)` or `function (deflate.c:12)`, and nothing of Python's `function (file.py:12)`"""
    found = PLACE.match(text)
    if not found:
        return text
    return None if found["file"].endswith(".py") or found["file"].startswith("<") else found["name"]


def file_name_line(text):
    """`file.py:Class.function:12`"""
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not parts[2].isdigit():
        return None
    return plain(parts[1]), int(parts[2])
