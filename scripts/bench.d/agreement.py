"""Whether one profiler's native stacks of a program can be, by what another one sees of it.

Stacks are tuples of functions, oldest first. Of two neighbours one has called the other: an edge.
"""

import re
from collections import Counter

# An edge that the other one should have seen so often and never saw cannot be: by chance that is one in 20,000.
EXPECTED = 10
NOTEWORTHY = 0.01  # the share of stacks that a function has to be in to be compared by it
ROOTS = re.compile(r"_start$|_?_?clone3?$|start_thread$")
CLONES = re.compile(r"(\.(constprop|isra|part|lto_priv|cold|localalias)(\.\d+)*)+$")


def function(name):
    """The function's own name, without its version and what compilers add for parts and copies of it."""
    return name if name.endswith("@plt") else CLONES.sub("", name.partition("@")[0])


def pure(stacks):
    """By the functions' own names."""
    found = Counter()
    for stack, count in stacks.items():
        found[tuple(map(function, stack))] += count
    return found


class Seen:
    """What one profiler saw."""

    def __init__(self, stacks):
        self.stacks = stacks
        self.total = sum(stacks.values())
        self.edges, self.functions = Counter(), Counter()
        for stack, count in stacks.items():
            for edge in set(edges(stack)):
                self.edges[edge] += count
            for name in set(stack):
                self.functions[name] += count

    def rooted(self):
        return sum(count for stack, count in self.stacks.items() if ROOTS.match(stack[0]))

    def unseen(self, other):
        """How many stacks have an edge that the other one has not."""
        return sum(count for stack, count in self.stacks.items() if any(e not in other.edges for e in edges(stack)))

    def only(self, other):
        """Edges that the other one has not, with their counts."""
        return Counter({edge: count for edge, count in self.edges.items() if edge not in other.edges})

    def impossible(self, other):
        """Those of them that it should have seen: both functions are known to it."""
        often = self.total * EXPECTED / max(1, other.total)
        known = other.functions.keys()
        return {edge: n for edge, n in self.only(other).items() if n >= often and known >= set(edge)}

    def unknown(self, other):
        """Functions that it should have seen, by that name."""
        often = self.total * EXPECTED / max(1, other.total)
        return {name: n for name, n in self.functions.items() if n >= often and name not in other.functions}

    def contradicted(self, other):
        """How many stacks have an edge that cannot be."""
        wrong = self.impossible(other)
        return sum(count for stack, count in self.stacks.items() if any(edge in wrong for edge in edges(stack)))

    def differences(self, other):
        """{function: (share here, share there, difference in standard errors)}, of those that are in many stacks."""
        found = {}
        for name in self.functions.keys() | other.functions.keys():
            a, b = self.functions[name] / self.total, other.functions[name] / other.total
            both = (self.functions[name] + other.functions[name]) / (self.total + other.total)
            if NOTEWORTHY <= max(a, b) and both < 1:
                error = (both * (1 - both) * (1 / self.total + 1 / other.total)) ** 0.5
                found[name] = (a, b, (a - b) / error)
        return found


def edges(stack):
    return zip(stack, stack[1:])
