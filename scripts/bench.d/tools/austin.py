"""austin. It takes all threads, waiting ones too, and counts as an error what it could not read."""

import re

import mojo

from .tool import Tool

ERRORS = re.compile(r"Error rate.*?(\d+)/(\d+)")
DURATION = re.compile(r"Total duration.*?([\d.]+)s")


class Austin(Tool):
    name = "austin"
    suffix = ".mojo"

    def __init__(self, peers):
        self.path, self.missing = peers.find("austin")

    def command(self, pid, rate, seconds, output, idle):
        return [*self.path, "-i", max(1, round(1e6 / rate)), "-p", pid, "-o", output]

    def ends_itself(self):
        return False  # its exposure is in whole seconds

    def dump(self, pid):
        return [*self.path, "-w", pid]

    def stacks(self, path):
        return mojo.stacks(path.read_bytes())

    def failed(self, run):
        # Its exit status does not tell: it is one of failure after being asked to finish, too.
        if ERRORS.search(plain(run)):
            return None
        # The logo with its version, then sentences.
        said = " ".join(plain(run).partition("\n\n")[2].split())
        said = said.encode("ascii", "ignore").decode().strip()
        return said.partition(". ")[0] or "it said nothing"

    def counts(self, recording):
        text = plain(recording.run)
        errors, duration = ERRORS.search(text), DURATION.search(text)
        counts = {"lost": int(errors[1])} if errors else {}
        return {**counts, "seconds": float(duration[1])} if duration else counts


def plain(run):
    """What it said, without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", run.stdout + run.stderr)
