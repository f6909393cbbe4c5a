"""Packages in C at work, each of their functions called by one of ours.

    packages.py DIRECTORY numeric|trees

DIRECTORY has NumPy and lxml, as scripts/packages installs them. Ground truth: `stacks`, all that there can be of the
main thread, oldest first, by the name of the newest function of ours; each but that of `main` is where a package or the
interpreter is at work. A function has a single line, as it may be seen at its `def` as well.
"""
import itertools
import sys

import groundtruth

sys.path.insert(0, sys.argv[1])

# fmt: off


class Numeric(object):
    """Code for vectors, which aligns its stack, and a library with threads of its own."""

    def __init__(self):
        import numpy
        from numpy.linalg import _umath_linalg
        numbers = numpy.random.default_rng(1).random(90_000)
        self.numpy, self.lapack, self.numbers, self.many = numpy, _umath_linalg, numbers, numpy.tile(numbers, 8)
        self.matrix, self.small = numbers.reshape(300, 300), numbers[:40_000].reshape(200, 200)

    def sorting(self): return self.numbers.argsort()
    def sines(self): return self.numpy.sin(self.numbers)
    def exponentials(self): return self.numpy.exp(self.many)
    def logarithms(self): return self.numpy.log1p(self.many)
    def products(self): return self.numpy.matmul(self.matrix, self.matrix)
    def inverting(self): return self.lapack.inv(self.small)

    functions = [sorting, sines, exponentials, logarithms, products, inverting]
    called = None


class Trees(object):
    """A library that goes through itself as deep as a document is, and calls Python from there."""

    DEPTH = 40
    STYLE = b"""<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:own="urn:own">
        <xsl:template match="branch"><xsl:apply-templates select="*"/></xsl:template>
        <xsl:template match="leaf"><xsl:value-of select="%s"/></xsl:template></xsl:stylesheet>"""

    def __init__(self):
        from lxml import etree
        self.etree, self.text = etree, self.document(2000)
        self.large, self.small = etree.fromstring(self.text), etree.fromstring(self.document(100))
        style = lambda value, **more: etree.XSLT(etree.XML(self.STYLE % value), **more)
        self.transform = style(b"count(preceding-sibling::*[@number='1'])")
        self.call = style(b"own:called(.)", extensions={("urn:own", "called"): self.called})
        self.find = etree.XPath("count(//leaf[@number = '1'][not(following-sibling::leaf[@number = '2'])])")

    def document(self, leaves):
        return b"<branch>" * self.DEPTH + b"<leaf number='1'>text</leaf>" * leaves + b"</branch>" * self.DEPTH

    def called(self, context, nodes): return float(sum(range(500)))
    def parsing(self): return self.etree.fromstring(self.text)
    def writing(self): return self.etree.tostring(self.large)
    def searching(self): return self.find(self.small)
    def transforming(self): return self.transform(self.small)
    def calling(self): return self.call(self.small)

    functions = [parsing, writing, searching, transforming, calling]


def main():
    work = {"numeric": Numeric, "trees": Trees}[sys.argv[2]]()
    main = groundtruth.stack_of(sys._getframe())
    main[-1]["line"] = groundtruth.marked_line(__file__, "work")
    stacks = {"main": main}
    for function in work.functions:
        stacks[function.__name__] = main + [frame_of(function)]
    if work.called:
        stacks["called"] = stacks["calling"] + [frame_of(work.called)]
    groundtruth.limit_life()
    groundtruth.announce({"stacks": stacks})
    for function in itertools.cycle(work.functions): function(work)  # MARK work


# fmt: on


def frame_of(function):
    """The frame of a function that has one line."""
    code = function.__code__
    qualname = getattr(code, "co_qualname", None)
    return {"func": code.co_name, "qualname": qualname, "file": code.co_filename, "line": code.co_firstlineno}


if __name__ == "__main__":
    main()
