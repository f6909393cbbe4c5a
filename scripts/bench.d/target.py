"""Starts the programs that are looked at, and copies them to where their interpreter can see them."""

import json
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from failure import Failure, telling_line

HERE = Path(__file__).resolve().parent
TARGETS = HERE.parents[1] / "tests/targets"
PATIENCE = 30  # seconds to become ready; a thousand threads take one


class Programs:
    """The programs, one copy below each root that an interpreter sees. A context: the copies go at its end."""

    def __init__(self):
        self.copies = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for directory in self.copies.values():
            shutil.rmtree(directory, ignore_errors=True)

    def path(self, root, name):
        """The program as an interpreter with this root names it."""
        if root not in self.copies:
            directory = Path(tempfile.mkdtemp(prefix="firefinch-bench-", dir=Path(root) / "tmp"))
            self.copies[root] = directory
            for source in [*TARGETS.glob("*.py"), *(HERE / "programs").glob("*.py")]:
                shutil.copy(source, directory)
        return "/" + str((self.copies[root] / name).relative_to(root))


class Target:
    """A running program that has said it is ready. A context: the program goes at its end."""

    def __init__(self, bench, python, program, *arguments):
        path = bench.programs.path(python.root, program)
        argv = [*python.command, path, *map(str, arguments)]
        self.errors = tempfile.TemporaryFile()
        with bench.cores.children_on(bench.cores.target):
            self.process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True
            )
        self.python, self.what = python, f"{program} on {python.name}"
        self.read = b""
        try:
            self.pid = int(re.search(r"PID=(\d+)", self.line("ready ")).group(1))
            self.truth = json.loads(self.line("truth ")[len("truth ") :])
        except BaseException:
            self.kill()
            raise

    def line(self, start):
        """The next line, which must begin so."""
        until = time.monotonic() + PATIENCE
        while b"\n" not in self.read:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            more = ready and self.process.stdout.read1(65536)
            if not more:
                raise self.failure("it ended" if ready else f"nothing in {PATIENCE} s")
            self.read += more
        line, _, self.read = self.read.partition(b"\n")
        text = line.decode("ascii", "replace")
        if not text.startswith(start):
            raise self.failure(f"said {text[:80]!r}")
        return text

    def failure(self, evidence):
        self.errors.seek(0)
        said = telling_line(self.errors.read().decode("utf-8", "replace"), evidence)
        return Failure(f"{self.what} did not start", f"{evidence}: {said}", "run it by hand")

    def end(self):
        """Ends it by its stdin. What it said last, as text."""
        self.process.stdin.close()
        try:
            last = self.read + self.process.stdout.read()
            self.process.wait(PATIENCE)
        finally:
            self.kill()
        return last.decode("ascii", "replace")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
