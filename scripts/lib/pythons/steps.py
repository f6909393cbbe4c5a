"""Runs the long steps: output to a log, signs of life on stderr, nothing left running when interrupted."""

import os
import signal
import subprocess
import sys
import time

from . import cache
from .failure import Failure, tail

QUIET_SECONDS = 15  # between signs of life when stderr is not a terminal


class Steps:
    """The steps that make one artefact."""

    def __init__(self, artefact, lock):
        self.artefact, self.lock, self.log = artefact, lock, cache.log_of(artefact)

    def run(self, what, command, remedy, cwd=None, env=None, more_logs=()):
        """Runs one command to its end, or raises Failure with the log as its evidence.

        `env` is added to the environment, a value of None removes. `more_logs` are files that the command writes on
        its own; they are appended to the log when it fails.
        """
        command = [str(part) for part in command]
        start = time.monotonic()
        together = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **(env or {})}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env={key: value for key, value in together.items() if value is not None},
                    start_new_session=True,
                    pass_fds=[self.lock],
                )
            except OSError as error:
                raise Failure(f"{self.artefact}: {what} failed", f"{command[0]}: {error.strerror}", remedy) from error
            try:
                self.watch(child, what, start)
            except BaseException:
                end(child)
                raise
        if child.returncode != 0:
            for path in more_logs:
                with self.log.open("a", encoding="utf-8") as log:
                    log.writelines(line + "\n" for line in tail(path, 200))
            ended = f"exit {child.returncode}" if child.returncode > 0 else f"signal {-child.returncode}"
            raise Failure(f"{self.artefact}: {what} failed", f"{ended}, see {self.log}", remedy, self.log)
        self.say(f"{what}: {time.monotonic() - start:.0f} s", last=True)

    def watch(self, child, what, start):
        terminal = sys.stderr.isatty()
        self.say(f"{what} ...")
        spoken = start
        while True:
            try:
                child.wait(timeout=0.5)
                return
            except subprocess.TimeoutExpired:
                now = time.monotonic()
                if terminal or now - spoken >= QUIET_SECONDS:
                    spoken = now
                    line = (tail(self.log, 1) or [""])[0]
                    self.say(f"{what} ... {now - start:.0f} s  {line[-60:]}")

    def say(self, text, last=False):
        line = f"pythons: {self.artefact}: {text}"
        if sys.stderr.isatty():
            print(f"\r\033[K{line[:118]}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def end(child):
    """Ends the step and all that it started: they are a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            pass
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            pass
