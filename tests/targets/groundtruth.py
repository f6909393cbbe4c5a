# -*- coding: utf-8 -*-
"""How a target tells what is true of it; the others import this.

Every target prints `ready PID=<pid> python=<version>` once it stands where
the test wants to look, and on the next line `truth {...}` in JSON (ASCII
only). Both go out in one write. Nothing here runs threads of its own unless
a target asks for one. A target lives until its stdin ends or LIFE seconds
have passed, when SIGALRM ends it, so that none is ever left behind.
"""
import io
import json
import os
import re
import signal
import sys
import threading
import time

LIFE = 120


def limit_life(seconds=LIFE):
    """Let the kernel end this process after `seconds`, whatever it does."""
    signal.alarm(int(seconds))


def text(value):
    """`value` as text that JSON can carry and a person would expect.

    A path that the interpreter could not decode is kept by it with lone
    surrogates; its true name on disk is UTF-8 in every target here.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if sys.version_info[0] < 3:
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def source_of(module_file):
    """The source file of a module, also where `__file__` names a .pyc."""
    if module_file.endswith((".pyc", ".pyo")):
        return module_file[:-1]
    return module_file


def marked_line(module_file, name):
    """Number of the line that ends in the comment `MARK name`."""
    wanted = re.compile(u"#\\s*MARK " + re.escape(name) + u"\\s*$")
    with io.open(source_of(module_file), encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            if wanted.search(line):
                return number
    raise LookupError(name)


def lines_of(function):
    """Every line that `function` itself can be seen at, in order.

    Includes the line of its `def` (its first decorator, if it has one): from
    3.11 on the first instruction of a function belongs to it.
    """
    import dis

    code = function.__code__
    lines = {line for _, line in dis.findlinestarts(code) if line}
    return sorted(lines | {code.co_firstlineno})


def frame_of(frame):
    """One frame as the truth names it."""
    code = frame.f_code
    return {
        "func": text(code.co_name),
        "qualname": text(getattr(code, "co_qualname", None)),
        "file": text(code.co_filename),
        "line": frame.f_lineno,
    }


def stack_of(frame):
    """The stack that ends in `frame`, oldest first."""
    stack = []
    while frame is not None:
        stack.append(frame_of(frame))
        frame = frame.f_back
    stack.reverse()
    return stack


def working(caller, mark, function):
    """The truth of a busy `function`, called by `caller` at the line `mark`.

    `stack` ends in the caller; on top of it stands `busy`, at one of `lines`.
    """
    stack = stack_of(caller)
    stack[-1]["line"] = marked_line(caller.f_code.co_filename, mark)
    busy = function.__name__
    return {"stack": stack, "busy": busy, "lines": lines_of(function)}


def message(truth=None, *words):
    """What to write to stdout once the target is ready, as bytes."""
    version = "%d.%d.%d" % tuple(sys.version_info[:3])
    first = ["ready", "PID=%d" % os.getpid(), "python=" + version]
    line = " ".join(first + list(words)) + "\n"
    if truth is not None:
        line += "truth " + json.dumps(truth, sort_keys=True) + "\n"
    return line.encode("ascii")


def announce(truth=None, *words):
    """Say that the target is ready."""
    os.write(1, message(truth, *words))


def block(**truth):
    """Print the stack that ends here, then wait at its end for stdin.

    Saying it and waiting are one line, so the printed stack is true from
    before the test can read it until after stdin has ended.
    """
    truth["stack"] = stack_of(sys._getframe())
    truth["stack"][-1]["line"] = marked_line(__file__, "blocked")
    truth["syscalls"] = ["read"]
    said = message(truth)
    return os.write(1, said) and os.read(0, 1)  # MARK blocked


def native_id():
    """The calling thread's id as the kernel knows it.

    Public from 3.8 on; before, it takes a /proc (Linux 3.17).
    """
    if hasattr(threading, "get_native_id"):
        return threading.get_native_id()
    return int(os.readlink("/proc/thread-self").rpartition("/")[2])


def may_sleep(thread):
    """False for a thread that runs or could; True too where there is no /proc."""
    try:
        with open("/proc/self/task/%d/stat" % thread) as stat:
            return stat.read().rpartition(")")[2].split()[0] == "S"
    except (OSError, IOError):
        return True


def system_call(thread):
    """Number of the system call a thread sleeps in; None where unreadable."""
    try:
        with open("/proc/self/task/%d/syscall" % thread) as syscall:
            return int(syscall.read().split()[0])
    except (OSError, IOError, ValueError):
        return None


def settle(threads, looks=20):
    """Wait until `threads` (ident to native id) sleep; return their stacks.

    They count as settled when each was found asleep on the same lines that
    many looks in a row, with the interpreter free to run them in between.
    """
    seen, same = None, 0
    while same < looks:
        time.sleep(0.005)
        frames = sys._current_frames()
        now = dict((ident, stack_of(frames[ident])) for ident in threads)
        asleep = all(may_sleep(tid) for tid in threads.values())
        same = same + 1 if asleep and now == seen else 0
        seen = now
    return seen
