"""What the user is told when something cannot be done: what failed, the evidence, what to type."""

import re


class Failure(Exception):
    """One step that failed."""

    def __init__(self, what, evidence, remedy):
        super().__init__(what)
        self.what, self.evidence, self.remedy = what, evidence, remedy

    def lines(self):
        return [f"bench: {self.what}", f"  evidence: {self.evidence}", f"  try:      {self.remedy}"]


def telling_line(*texts):
    """Of the first text that says anything: the first line that speaks of an error, else the last."""
    for text in texts:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if lines:
            errors = (line for line in lines if re.search("error|panicked", line, re.IGNORECASE))
            return next(errors, lines[-1])[:160]
    return "no message"
