"""Reads MOJO, austin's binary format, from austin 3.4 to 4.0 (its versions 2 and 3)."""

from collections import Counter

from stacks import plain

METADATA, STACK, FRAME, INVALID, KNOWN, KERNEL, GC, IDLE, TIME, MEMORY, STRING, KNOWN_STRING = range(1, 13)


def stacks(data):
    """A Counter of stacks; one count for each sample of each thread, whatever time it stands for."""
    if data[:3] != b"MOJ":
        raise ValueError("not a MOJO file")
    version, at = integer(data, 3)
    strings, frames = {}, {}
    found, stack = Counter(), None
    try:
        while at < len(data):
            event, at = data[at], at + 1
            if event == KNOWN:
                key, at = integer(data, at)
                stack.append(frames[key])
            elif event == STACK:
                add(found, stack)
                _pid, at = integer(data, at)
                if version >= 3:
                    _interpreter, at = integer(data, at)
                _thread, at = string(data, at)
                stack = []
            elif event == FRAME:
                fields = []
                for _ in range(7 if version >= 2 else 4):
                    field, at = integer(data, at)
                    fields.append(field)
                key, _file, scope, line = fields[:4]
                frames[key] = (plain(strings.get(scope, "?")), line)
            elif event == STRING:
                key, at = integer(data, at)
                strings[key], at = string(data, at)
            elif event in (TIME, MEMORY, KNOWN_STRING):
                _value, at = integer(data, at)
            elif event == METADATA:
                _key, at = string(data, at)
                _value, at = string(data, at)
            elif event == KERNEL:
                _name, at = string(data, at)
            elif event == INVALID:
                stack.append(("(invalid)", 0))
            elif event not in (GC, IDLE):
                raise ValueError(f"unknown event {event} at {at - 1}")
    except IndexError:
        pass  # ended in the middle of a record: what was complete counts
    else:
        add(found, stack)
    return found


def add(found, stack):
    if stack:
        found[tuple(stack)] += 1


def integer(data, at):
    """Six bits and a sign, then seven bits a byte, the lowest first; the highest bit says that more follow."""
    byte = data[at]
    value, shift = byte & 0x3F, 6
    negative = byte & 0x40
    while byte & 0x80:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return (-value if negative else value), at + 1


def string(data, at):
    end = data.find(b"\0", at)
    if end < 0:
        raise IndexError
    return data[at:end].decode("utf-8", "replace"), end + 1
