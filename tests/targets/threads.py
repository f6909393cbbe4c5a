# -*- coding: utf-8 -*-
"""Threads that each wait in a known way, beside one that is busy.

    MainThread     joins "stdin-watcher"                    futex
    busy-worker    pure Python, in `busy_loop`              none: it runs
    sleeper        time.sleep, in `sleep_long`              clock_nanosleep
    lock-waiter    a lock that is never released            futex
    socket-waiter  recv on one end of a socket pair         recvfrom
    queue-waiter   queue.get, which waits on a condition    futex
    wärter-雀      a lock, under a name beyond ASCII        futex
    stdin-watcher  waits for stdin to end                   read

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

READ = ["read"]
RECEIVE = ["recvfrom", "recv"]
FUTEX = ["futex", "futex_time64"]
SLEEP = ["clock_nanosleep", "nanosleep", "select", "pselect6"]
NATIVE = {}
HELD = threading.Lock()


def busy_loop(said, x):
    os.write(1, said)
    while True:
        x = (x * 31 + 7) % 1000003
        for step in (1, 2, 3):
            x ^= step


def be_busy(waits):
    """Say how all the others wait, once they do, and never wait again."""
    known = truth(waits)
    this = known["threads"]["busy-worker"]
    this.update(groundtruth.working(sys._getframe(), "busy", busy_loop))
    busy_loop(groundtruth.message(known), 1)  # MARK busy


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


def watch_stdin():
    os.read(0, 1)


def truth(waits):
    """Names and stacks of all threads, once all but this one sleep."""
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
    ours, theirs = socket.socketpair()
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
        "socket-waiter": ("idle", RECEIVE),
        "queue-waiter": ("idle", FUTEX),
        "wärter-雀": ("idle", FUTEX),
        "stdin-watcher": ("idle", READ),
    }
    watcher = begin("stdin-watcher", watch_stdin)
    begin("busy-worker", be_busy, waits)
    watcher.join()
    ours.close()
    os._exit(0)


if __name__ == "__main__":
    main()
