"""Threads that wait, each in another system call, until the end.

Ground truth: `threads` maps the number that the kernel gives to each to a
list: what its wait may be called, on one version and C library or another.
One of them waits in a function that `sorted` calls, in others of the same.
"""
import os
import select
import socket
import threading
import time

import groundtruth

FUTEX = ["futex", "futex_time64"]
SLEEP = ["clock_nanosleep", "nanosleep", "select", "pselect6"]
KNOWN = {}


def begin(syscalls, function, *args):
    """Start a thread; before it waits it says who it is."""
    started = threading.Event()

    def run():
        KNOWN[groundtruth.native_id()] = syscalls
        started.set()
        function(*args)

    thread = threading.Thread(target=run)
    thread.daemon = True
    thread.start()
    started.wait()


def wait_for_epoll(readable):
    waiting = select.epoll()
    waiting.register(readable, select.EPOLLIN)
    waiting.poll(2 * groundtruth.LIFE)


def wait_for_poll(readable):
    waiting = select.poll()
    waiting.register(readable, select.POLLIN)
    waiting.poll(2000 * groundtruth.LIFE)


def nested(level):
    def key(_):
        return nested(level - 1) if level else time.sleep(2 * groundtruth.LIFE)

    return sorted([level], key=key)


def main():
    groundtruth.limit_life()
    readable, writable = os.pipe()
    ours, theirs = socket.socketpair()
    patient, other = socket.socketpair()
    patient.settimeout(2 * groundtruth.LIFE)
    lock = threading.Lock()
    lock.acquire()
    begin(SLEEP, time.sleep, 2 * groundtruth.LIFE)
    begin(["read"], os.read, readable, 1)
    begin(["recvfrom", "recv"], ours.recv, 1)
    begin(["poll", "ppoll"], patient.recv, 1)
    begin(FUTEX, lock.acquire)
    begin(FUTEX + SLEEP, threading.Event().wait, 2 * groundtruth.LIFE)
    begin(["epoll_wait", "epoll_pwait", "epoll_pwait2"], wait_for_epoll, readable)
    begin(["poll", "ppoll"], wait_for_poll, readable)
    begin(["select", "pselect6"], select.select, [readable], [], [])
    begin(SLEEP, nested, 10)
    KNOWN[groundtruth.native_id()] = ["read"]
    groundtruth.announce({"threads": KNOWN})
    os.read(0, 1)
    os._exit(len([writable, theirs, other]) - 3)


if __name__ == "__main__":
    main()
