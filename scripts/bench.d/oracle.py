"""Judges stacks by what a program says can be, as tests/e2e/oracle.rs does."""

LEVELS = ["driver", "c_", "d_", "e_"]


class Oracle:
    """Every edge there can be, and where a stack can begin and end."""

    def __init__(self, truth):
        self.edges = {(caller, line, callee) for caller, line, callee in truth["edges"]}
        self.roots = set(truth["roots"])
        self.leaves = {(name, line) for name, lines in truth["leaf_lines"].items() for line in lines}

    def objection(self, stack):
        """What is impossible about a stack, or None."""
        if stack[0][0] not in self.roots:
            return f"begins with {stack[0][0]}"
        for (caller, line), (callee, _) in zip(stack, stack[1:]):
            if (caller, line, callee) not in self.edges:
                return f"{caller}:{line} calls {callee}"
        return None if stack[-1] in self.leaves else f"ends in {stack[-1][0]}:{stack[-1][1]}"


def level(stack):
    """The level at which the innermost function of the churn is, or None for another thread."""
    name = stack[-1][0]
    return next((each for each in LEVELS if name.startswith(each)), None)
