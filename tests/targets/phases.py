"""A program of many short calls that measures how it divides its time.

It reads, parses and prints the same expressions again and again: a few hundred
microseconds for each phase, in which `scan` spends most of its time in loops
of its own, and `parse` goes down through a dozen functions that hardly do
more than call the next and ask what comes. So in one of them a stack stands
for microseconds, in the other it never does.

Ground truth: at the end a line `spent {...}` with the shares of `scan`, `parse`
and `show`, measured around them from the line "ready" on: a machine with other
things to do divides the time otherwise from one second to the next.

Another program may give main() its own phases: each gets what the one before
has returned. And it may have them run elsewhere, for so many seconds at a time.
"""
import json
import os
import threading
import time

import groundtruth

CLOCK = getattr(time, "perf_counter", time.time)
# Calls after which an interpreter has made its code what it stays.
WARMING = 100
TEXT = "alpha + beta * (gamma - 12 / delta) == first(second, third(4, five)) and not other or 7 < x ** 2 "
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
DIGITS = frozenset("0123456789")


class Scanner(object):
    def __init__(self, text):
        self.text = text
        self.size = len(text)
        self.at = 0
        self.found = []

    def scan(self):
        while self.at < self.size:
            char = self.peek()
            if char in LETTERS:
                self.word()
            elif char in DIGITS:
                self.add("number", self.run_of(DIGITS))
            elif char == " ":
                self.advance(1)
            else:
                self.operator()
        return self.found

    def peek(self):
        return self.text[self.at]

    def advance(self, by):
        self.at += by

    def word(self):
        word = self.run_of(LETTERS)
        # Looked up by each of its beginnings, as a trie would be.
        known = None
        for end in range(1, len(word) + 1):
            beginning = word[:end]
            if beginning in ("and", "or", "not"):
                known = beginning
        self.add(known if known == word else "name", word)

    def run_of(self, letters):
        begin = end = self.at
        while end < self.size and self.text[end] in letters:
            end += 1
        self.at = end
        return self.text[begin:end]

    def operator(self):
        two = self.text[self.at : self.at + 2]
        one = two if two in ("==", "**") else two[:1]
        self.advance(len(one))
        self.add(one, one)

    def add(self, kind, text):
        self.found.append(Token(kind, text))


class Token(object):
    def __init__(self, kind, text):
        self.kind = kind
        self.text = text

    def is_a(self, kinds):
        return self.kind in kinds


class Parser(object):
    LEVELS = [("or",), ("and",), ("==",), ("<", ">"), ("+", "-"), ("*", "/"), ("**",)]

    def __init__(self, tokens):
        self.tokens = tokens
        self.at = 0

    def parse(self):
        return self.disjunction()

    def match(self, *kinds):
        if self.at < len(self.tokens) and self.tokens[self.at].is_a(kinds):
            self.step()
            return self.tokens[self.at - 1]
        return None

    def step(self):
        self.at += 1

    def level(self, number, deeper):
        left = deeper()
        while True:
            token = self.match(*self.LEVELS[number])
            if not token:
                return left
            left = Binary(token.text, left, deeper())

    def disjunction(self):
        return self.level(0, self.conjunction)

    def conjunction(self):
        return self.level(1, self.equality)

    def equality(self):
        return self.level(2, self.comparison)

    def comparison(self):
        return self.level(3, self.term)

    def term(self):
        return self.level(4, self.factor)

    def factor(self):
        return self.level(5, self.power)

    def power(self):
        return self.level(6, self.unary)

    def unary(self):
        token = self.match("not") or self.match("-")
        if token:
            return Binary(token.text, None, self.unary())
        return self.atom()

    def atom(self):
        if self.match("("):
            inner = self.disjunction()
            self.match(")")
            return inner
        token = self.match("name", "number")
        if self.match("("):
            return Call(token.text, self.arguments())
        return Name(token.text)

    def arguments(self):
        found = []
        while not self.match(")"):
            found.append(self.disjunction())
            self.match(",")
        return found


class Name(object):
    def __init__(self, name):
        self.name = name

    def show(self):
        return self.name


class Binary(object):
    def __init__(self, operator, left, right):
        self.operator = operator
        self.left = left
        self.right = right

    def show(self):
        left = self.left.show() if self.left else ""
        return "(" + left + self.operator + self.right.show() + ")"


class Call(object):
    def __init__(self, name, arguments):
        self.name = name
        self.arguments = arguments

    def show(self):
        shown = []
        for argument in self.arguments:
            shown.append(argument.show())
        return self.name + "(" + ",".join(shown) + ")"


def scan(_):
    return Scanner(TEXT).scan()


def parse(tokens):
    return Parser(tokens).parse()


def show(tree):
    return tree.show()


def once(phases, spent):
    value = None
    for phase in phases:
        begin = CLOCK()
        value = phase(value)
        spent[phase.__name__] += CLOCK() - begin


def nothing_spent(phases):
    return dict((phase.__name__, 0.0) for phase in phases)


def watch_stdin(ended):
    os.read(0, 1)
    ended.append(True)


def here(work):
    work()


def main(phases, run=here, at_a_time=0.005):
    groundtruth.limit_life()
    ended = []
    watcher = threading.Thread(target=watch_stdin, args=(ended,), name="stdin-watcher")
    watcher.daemon = True
    watcher.start()
    for _ in range(WARMING):
        once(phases, nothing_spent(phases))
    spent = nothing_spent(phases)
    groundtruth.announce({})

    def work():
        end = CLOCK() + at_a_time
        while CLOCK() < end:
            once(phases, spent)

    while not ended:
        run(work)
    total = sum(spent.values())
    shares = dict((name, part / total) for name, part in spent.items())
    said = "spent %s\n" % json.dumps(shares, sort_keys=True)
    os.write(1, said.encode("ascii"))


if __name__ == "__main__":
    main([scan, parse, show])
