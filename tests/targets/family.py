"""A process with children, made and ended at the word of whoever watches.

Each line on stdin is a command, and is answered with one:

    fork NAME           `forked PID`: a child by fork, busy in `work_NAME`
    pool NAME           `forked PID`: the same by multiprocessing
    spawn ARGS...       `spawned PID`: a child by subprocess, with a stdin that ends
                        when this process does
    tell PID            `told PID`: a line to the stdin of this child
    orphan NAME         `forked PID`: a grandchild whose parent ends at once, when
                        the next line comes
    flock N             `flocked N`: N children that end at once, some at a time
    end PID             `ended PID`: kills this child and waits for its end
    leave               `left PID`: ends this process, and leaves its children to
                        that one, which it has forked and which only waits

NAME is one of a, b and c. At SIGUSR1 a child calls itself `renamed`. The end of stdin ends it with all its children, and so
does its own, however it comes about; each lives no longer than LIFE. With `--threads N` so many threads wait beside the
main one from the beginning.

Ground truth: `work`: NAME to [function, lines]; `idle`: the function in which
the parent waits.
"""
import argparse
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import groundtruth

TOGETHER = 10


def work_a():
    x = 0
    while True:
        x = (x * 31 + 7) % 1000003


def work_b():
    x = 0
    while True:
        x = (x * 37 + 7) % 1000003


def work_c():
    x = 0
    while True:
        x = (x * 41 + 7) % 1000003


WORK = {"a": work_a, "b": work_b, "c": work_c}

# For each child one end of a pipe that the parent alone holds open.
HELD = []


def lifeline():
    """The other end, for the next child."""
    hear, keep = os.pipe()
    HELD.append(keep)
    return hear


def hold_on(hear):
    """Has SIGIO end this process once the parent is gone."""
    for keep in HELD:
        os.close(keep)
    del HELD[:]
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(hear, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(hear, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    try:
        if not os.read(hear, 1):
            os._exit(1)
    except OSError:
        pass  # It is there.


def rename(*_):
    with open("/proc/self/comm", "w") as comm:
        comm.write("renamed")


def begin(name, hear):
    groundtruth.limit_life()
    hold_on(hear)
    signal.signal(signal.SIGUSR1, rename)
    WORK[name]()


def fork(name):
    hear = lifeline()
    child = os.fork()
    if not child:
        try:
            begin(name, hear)
        finally:
            os._exit(1)
    os.close(hear)
    return child


def orphan(name):
    """A grandchild, and the pipe whose end ends its parent."""
    said, say = os.pipe()
    hear, go = os.pipe()
    line = lifeline()
    child = os.fork()
    if not child:
        os.close(go)
        grandchild = os.fork()
        if not grandchild:
            begin(name, line)
        os.write(say, str(grandchild).encode("ascii"))
        os.read(hear, 1)
        os._exit(0)
    os.close(line)
    os.close(hear)
    os.close(say)
    number = int(os.read(said, 100))
    os.close(said)
    return number, child, go


def flock(count):
    alive = []
    for _ in range(count):
        child = os.fork()
        if not child:
            os._exit(sum(range(1000)) and 0)
        alive.append(child)
        if len(alive) == TOGETHER:
            os.waitpid(alive.pop(0), 0)
    for child in alive:
        os.waitpid(child, 0)


def say(*words):
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode("ascii"))


def read_line():
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return None
        line += byte
    return line.decode("ascii").split()


def serve():
    children, spawned, ending = set(), {}, None
    while True:
        words = read_line()
        if ending:
            os.close(ending[1])
            os.waitpid(ending[0], 0)
            ending = None
        if not words:
            return children
        order, rest = words[0], words[1:]
        if order == "fork":
            child = fork(rest[0])
            children.add(child)
            say("forked", child)
        elif order == "pool":
            process = multiprocessing.Process(target=begin, args=(rest[0], lifeline()))
            process.start()
            children.add(process.pid)
            say("forked", process.pid)
        elif order == "spawn":
            process = subprocess.Popen(rest, stdin=subprocess.PIPE)
            spawned[process.pid] = process
            children.add(process.pid)
            say("spawned", process.pid)
        elif order == "tell":
            stdin = spawned[int(rest[0])].stdin
            stdin.write(b"\n")
            stdin.flush()
            say("told", rest[0])
        elif order == "orphan":
            child, parent, go = orphan(rest[0])
            children.add(child)
            ending = (parent, go)
            say("forked", child)
        elif order == "flock":
            flock(int(rest[0]))
            say("flocked", rest[0])
        elif order == "end":
            child = int(rest[0])
            children.discard(child)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            say("ended", child)
        elif order == "leave":
            keeper = os.fork()
            if keeper:
                say("left", keeper)
                os._exit(0)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--threads", type=int, default=0)
    asked = options.parse_args()
    groundtruth.limit_life()
    for number in range(asked.threads):
        thread = threading.Thread(target=threading.Event().wait, name="waiter-%d" % number)
        thread.daemon = True
        thread.start()
    if hasattr(multiprocessing, "set_start_method"):
        multiprocessing.set_start_method("fork")
    work = dict(
        (name, [function.__name__, groundtruth.lines_of(function)])
        for name, function in WORK.items()
    )
    groundtruth.announce({"work": work, "idle": read_line.__name__})
    for child in serve():
        try:
            os.kill(child, signal.SIGKILL)
        except OSError:
            pass  # It has ended, as it was told to.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
