"""Not a profiler: a loop that only wakes at the rate, for the least that sampling can cost."""

import subprocess

from failure import telling_line

from .tool import Tool

NAME = "empty loop"


class EmptyLoop(Tool):
    name = NAME

    def __init__(self, source, directory):
        self.path = directory / "wake"
        directory.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                ["cc", "-O2", "-o", self.path, source], check=False, capture_output=True, text=True
            )
        except OSError as error:
            self.missing = f"no C compiler: {error.strerror}"
        else:
            self.missing = telling_line(done.stderr) if done.returncode else None

    def command(self, pid, rate, seconds, output, idle):
        return [self.path, rate, seconds]
