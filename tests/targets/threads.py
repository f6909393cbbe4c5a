# -*- coding: utf-8 -*-
"""Threads that each wait in a known way, beside one that is busy.

    MainThread     joins "announcer"                        futex
    busy-worker    pure Python, in `busy_loop`              none: it runs
    sleeper        time.sleep, in `sleep_long`              clock_nanosleep
    lock-waiter    a lock that is never released            futex
    socket-waiter  recv on one end of a socket pair         recvfrom
    queue-waiter   queue.get, which waits on a condition    futex
    wärter-雀      a lock, under a name beyond ASCII        futex
    announcer      waits for stdin to end                   read

Ground truth: `threads` maps each name to `ident`, `native_id`, `state`, the
whole `stack`, `syscalls` (what its wait may be called on one version and C
library or another) and `syscall_number` (what the kernel called it here, or
null). The busy one has `busy` on top of its `stack`, at one of `lines`. Idle
threads were asleep at these very lines before `ready` was printed.
"""
import os
import socket
import sys
import threading
import time

try:
    import queue
except ImportError:
    import Queue as queue

import groundtruth

FUTEX = ["futex", "futex_time64"]
SLEEP = ["clock_nanosleep", "nanosleep", "select", "pselect6"]
NATIVE = {}
BUSY = {}
HELD = threading.Lock()
GO = threading.Lock()


def busy_loop(x):
    while True:
        x = (x * 31 + 7) % 1000003
        for step in (1, 2, 3):
            x ^= step


def be_busy():
    GO.acquire()
    BUSY.update(groundtruth.working(sys._getframe(), "busy", busy_loop))
    busy_loop(1)  # MARK busy


def sleep_long():
    time.sleep(2 * groundtruth.LIFE)


def wait_for_lock():
    HELD.acquire()


def receive(end):
    end.recv(1)


def take_from(empty):
    empty.get()


def watch_over_lock():
    with HELD:
        pass


def announce(others):
    known = truth(others)
    GO.release()
    while "stack" not in BUSY:
        time.sleep(0.01)
    known["threads"]["busy-worker"].update(BUSY)
    own = groundtruth.stack_of(sys._getframe())
    own[-1]["line"] = groundtruth.marked_line(__file__, "announced")
    known["threads"]["announcer"]["stack"] = own
    known["threads"]["announcer"]["syscall_number"] = None
    said = groundtruth.message(known)
    return os.write(1, said) and os.read(0, 1)  # MARK announced


def truth(waits):
    """Names and stacks of all threads, once all but this one wait."""
    everyone = dict((thread.name, thread) for thread in threading.enumerate())
    this = threading.current_thread().ident
    asleep = dict((e.ident, NATIVE[e.ident]) for e in everyone.values())
    del asleep[this]
    stacks = groundtruth.settle(asleep)
    known = {}
    for name, (state, syscalls) in waits.items():
        ident = everyone[name].ident
        known[groundtruth.text(name)] = {
            "ident": ident,
            "native_id": NATIVE[ident],
            "state": state,
            "syscalls": syscalls,
            "syscall_number": groundtruth.system_call(NATIVE[ident]),
            "stack": stacks.get(ident),
        }
    known["busy-worker"]["syscall_number"] = None
    return {"threads": known}


def begin(name, function, *args):
    started = threading.Event()
    thread = threading.Thread(
        target=run_known, args=(started, function) + args, name=name
    )
    thread.daemon = True
    thread.start()
    started.wait()
    return thread


def run_known(started, function, *args):
    NATIVE[threading.current_thread().ident] = groundtruth.native_id()
    started.set()
    function(*args)


def main():
    groundtruth.limit_life()
    NATIVE[threading.current_thread().ident] = groundtruth.native_id()
    HELD.acquire()
    GO.acquire()
    ours, theirs = socket.socketpair()
    begin("busy-worker", be_busy)
    begin("sleeper", sleep_long)
    begin("lock-waiter", wait_for_lock)
    begin("socket-waiter", receive, theirs)
    begin("queue-waiter", take_from, queue.Queue())
    begin("wärter-雀", watch_over_lock)
    waits = {
        "MainThread": ("idle", FUTEX),
        "busy-worker": ("busy", []),
        "sleeper": ("idle", SLEEP),
        "lock-waiter": ("idle", FUTEX),
        "socket-waiter": ("idle", ["recvfrom", "recv"]),
        "queue-waiter": ("idle", FUTEX),
        "wärter-雀": ("idle", FUTEX),
        "announcer": ("idle", ["read"]),
    }
    begin("announcer", announce, waits).join()
    ours.close()
    os._exit(0)


if __name__ == "__main__":
    main()
