"""What ordinary programs do between their plain calls, by one that measures how it divides its time.

Each phase goes through C into Python again and again, in a way of its own: classes make objects, loops
and `any` go through generators, sorting and regular expressions call back, attributes and operators are
methods, blocks are entered and left. There an evaluation loop begins with each call and ends with it, and
frames lie in objects that come and go.

Ground truth: as in phases.py, of these phases.
"""
import contextlib
import re

import phases

NUMBER = re.compile("[0-9]+")
TEXT = "10 green bottles, 9 green bottles, 8 green bottles"


class Node(object):
    def __init__(self, name, *children):
        self.name = name
        self.children = children
        for child in children:
            child.parent = self

    def __iter__(self):
        yield self
        for child in self.children:
            for each in child:
                yield each

    @property
    def size(self):
        return 1 + sum(child.size for child in self.children)

    def __getattr__(self, name):
        if name == "depth":
            return 0
        raise AttributeError(name)

    def __eq__(self, other):
        return self.name == other.name

    def __getitem__(self, index):
        return self.children[index]


def builds(_):
    tree = None
    for _ in range(4):
        tree = Node("a", Node("b", Node("c"), Node("d")), Node("e", Node("f"), Node("g", Node("h"))))
    return tree


def iterates(tree):
    for node in tree:
        node.mark = any(child.name > node.name for child in node)
    return tree


def asks(tree):
    found = 0
    for _ in range(3):
        found += tree.size + tree.depth
        if tree[0] == tree[1] or tree[0][0] == tree[1][1]:
            found += tree[1][1].depth
    return tree


def sorts(tree):
    words = sorted(TEXT.split(), key=lambda word: (len(word), word))
    words.sort(key=backwards)
    return max(words, key=vowels)


def backwards(word):
    return word[::-1]


def vowels(word):
    return sum(1 for letter in word if letter in "aeiou")


def replaces(_):
    text = TEXT
    for _ in range(3):
        text = NUMBER.sub(one_less, text)
    return text


def one_less(match):
    return str(int(match.group(0)) - 1)


@contextlib.contextmanager
def counted(counts, name):
    try:
        yield counts
    finally:
        counts[name] = counts.get(name, 0) + 1


def enters(_):
    counts = {}
    for name in ("a", "b", "a"):
        with counted(counts, name):
            try:
                fails(name)
            except KeyError:
                counts["failed"] = True


def fails(name):
    raise KeyError(name)


if __name__ == "__main__":
    phases.main([builds, iterates, asks, sorts, replaces, enters])
