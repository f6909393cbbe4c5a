"""Runs one profiler to its end and measures it from outside."""

import os
import select
import signal
import subprocess
import tempfile
import time

GRACE = 90  # seconds a profiler has for its report before it is ended for good
LOOKS = 0.01  # seconds between looks at its memory


class Run:
    """What became of one run. Times are in seconds, memory in bytes."""

    def __init__(self, status, wall, cpu, peak_memory, stdout, stderr):
        self.status, self.wall, self.cpu, self.peak_memory = status, wall, cpu, peak_memory
        self.stdout, self.stderr = stdout, stderr


class Child:
    """A profiler that runs. `end` gives its `Run`."""

    def __init__(self, argv, cores, on, env=None):
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.begun = time.monotonic()
        with cores.children_on(on):
            # A session of its own: Ctrl-C is for us, and each profiler is then ended by its PID.
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=self.out,
                stderr=self.err,
                start_new_session=True,
                env={**os.environ, "NO_COLOR": "1", **(env or {})},
            )
        self.pid = self.process.pid
        self.fd = os.pidfd_open(self.pid)
        self.peak = 0
        self.usage = None

    def poll(self):
        """Whether it has ended; if so its resource usage is known."""
        if self.usage is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.usage, self.ended = usage, time.monotonic()
                os.close(self.fd)
        return self.usage is not None

    def wait(self, seconds, memory=False):
        """Waits until so long after its start, or until its end."""
        until = self.begun + seconds
        while not self.poll():
            left = until - time.monotonic()
            if left <= 0:
                break
            if memory:
                self.look_at_memory()
            select.select([self.fd], [], [], min(left, LOOKS) if memory else left)

    def look_at_memory(self):
        # Not the usage's ru_maxrss: that starts with the memory of the process it was forked from.
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
                high = next((line for line in status if line.startswith("VmHWM:")), "VmHWM: 0")
        except OSError:
            return
        self.peak = max(self.peak, int(high.split()[1]) * 1024)

    def stop(self):
        """Asks it to finish, as Ctrl-C does."""
        if not self.poll():
            self.process.send_signal(signal.SIGINT)

    def end(self, memory=False):
        try:
            self.wait(time.monotonic() - self.begun + GRACE, memory)
        finally:
            self.kill()
        cpu = self.usage.ru_utime + self.usage.ru_stime
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
            file.close()
        return Run(self.process.returncode, self.ended - self.begun, cpu, self.peak, *texts)

    def kill(self):
        if not self.poll():
            self.process.kill()
            while not self.poll():
                time.sleep(0.01)


def run(argv, cores, on, seconds=None, memory=False, env=None):
    """Runs it to its end; after `seconds` it is asked to finish. An exception ends it."""
    child = Child(argv, cores, on, env)
    try:
        if seconds is not None:
            child.wait(seconds, memory)
            child.stop()
        return child.end(memory)
    except BaseException:
        child.kill()
        raise
