"""Two subinterpreters at work in threads of their own (3.8 and later).

    sub-blocked    runs `sub_blocked`, called by `sub_outer`, in read()
    sub-busy       runs `sub_busy`, in pure Python, giving way now and then

Each has a GIL of its own from 3.12 on, unless --shared-gil is given. Where
there are no subinterpreters to be had from Python, it prints `unsupported`
and exits with status 77.

Ground truth: `threads` maps each name to `native_id`, `interpreter` (its
id), `stack` within the subinterpreter, oldest first, and `under`, the stack
of the same thread in the main interpreter, which waits for it. The busy one
has `busy` on top of its stack, at one of `lines`. The main thread waits for
stdin in `main`.
"""
import json
import os
import sys
import threading

import groundtruth

try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        interpreters = None

UNSUPPORTED = 77
COMMON = """\
import _thread, json, os, sys, time
IN, OUT = {reads}, {writes}

def stack_of(frame):
    stack = []
    while frame is not None:
        code = frame.f_code
        qualname = getattr(code, "co_qualname", None)
        stack.insert(0, dict(
            func=code.co_name,
            qualname=qualname,
            file=code.co_filename,
            line=frame.f_lineno,
        ))
        frame = frame.f_back
    return stack

def known(frame, **more):
    stack = stack_of(frame)
    stack[-1]["line"] += 1
    known = dict(more, stack=stack, native_id=_thread.get_native_id())
    return (json.dumps(known) + chr(10)).encode()

"""
BLOCKED = COMMON + """\
def sub_blocked():
    said = known(sys._getframe(), syscalls=["read"])
    os.write(OUT, said) and os.read(IN, 1)

def sub_outer():
    sub_blocked()

sub_outer()
"""
BUSY = COMMON + """\
def sub_busy(x, said):
    os.write(OUT, said)
    while True:
        for _ in range(20000):
            x = (x * 31 + 7) % 1000003
        time.sleep(0)

def sub_outer():
    first = sub_busy.__code__.co_firstlineno
    lines = list(range(first, first + 6))
    said = known(sys._getframe(), busy="sub_busy", lines=lines)
    sub_busy(1, said)

sub_outer()
"""


def create(shared_gil):
    """The id of a new subinterpreter, with a GIL of its own if it can have it."""
    if not shared_gil:
        return interpreters.create()
    if hasattr(interpreters, "new_config"):
        return interpreters.create("legacy")
    if sys.version_info >= (3, 12):
        return interpreters.create(isolated=False)
    return interpreters.create()


def run_in(interpreter, script, under):
    under.extend(groundtruth.stack_of(sys._getframe()))
    under[-1]["line"] = groundtruth.marked_line(__file__, "running")
    interpreters.run_string(interpreter, script)  # MARK running


def begin(name, script, shared_gil):
    """Start `script` in a subinterpreter of its own; return what it says."""
    interpreter = create(shared_gil)
    reads, _keep = os.pipe()
    said, writes = os.pipe()
    under = []
    thread = threading.Thread(
        target=run_in,
        args=(interpreter, script.format(reads=reads, writes=writes), under),
        name=name,
    )
    thread.daemon = True
    thread.start()
    with os.fdopen(said) as lines:
        known = json.loads(lines.readline())
    known["interpreter"] = int(interpreter)
    known["under"] = under
    return known


def main():
    groundtruth.limit_life()
    if interpreters is None:
        os.write(1, b"unsupported\n")
        sys.exit(UNSUPPORTED)
    shared_gil = "--shared-gil" in sys.argv[1:]
    known = {
        "sub-blocked": begin("sub-blocked", BLOCKED, shared_gil),
        "sub-busy": begin("sub-busy", BUSY, shared_gil),
    }
    said = groundtruth.message({"threads": known})
    os._exit(os.write(1, said) and len(os.read(0, 1)))


if __name__ == "__main__":
    main()
