"""What the user is told when something cannot be had: what failed, the evidence, what to type."""


class Failure(Exception):
    """One artefact or step that failed. `log` is the file whose last lines are the evidence, if there is one."""

    def __init__(self, what, evidence, remedy, log=None):
        super().__init__(what)
        self.what, self.evidence, self.remedy, self.log = what, evidence, remedy, log

    def lines(self):
        return [f"pythons: {self.what}", f"  evidence: {self.evidence}", f"  try:      {self.remedy}"]


def tail(path, count=12):
    """The last lines of a log that say something."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
