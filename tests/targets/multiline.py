"""Lines that a line table has trouble with, in one stack.

Calls over several lines, whose line numbers go back as well as forth;
decorators; with, try and finally; comprehensions over lines; a function
with a gap of 700 lines and one whose one line is more than 255 bytes of
code, so that an entry of the old line tables (one byte each) must be split;
a line number above 100,000.

Ground truth: `stack`, oldest first, each line as the interpreter itself
computes it for the frame. Which line of a call over several lines that is
differs between versions. Frames in "<spread>" have no source file.
"""
import contextlib
import functools
import os

import groundtruth

GAP = 700
FAR = 100000
SPREAD = u"""\
def far_away(call):
    before = [len, max, min]
{gap}
    for each in before:
        if each is min:
            return (
                call
{gap}
                (
                    *()
                )
            )
"""
WIDE = u"""\
def one_wide_line(call, x=1):
    y = 2; {work}; return call(); {work}; return y
"""


def built(name, source, first_line):
    """The function `name` of `source`, which begins at `first_line`."""
    space = {}
    lines = u"\n" * (first_line - 1) + source
    exec(compile(lines, "<spread>", "exec"), space)
    return space[name]


far_away = built("far_away", SPREAD.format(gap=u"\n" * GAP), FAR)
wide = built(
    "one_wide_line",
    WIDE.format(work=u"; ".join([u"y = x * y + len((x, y))"] * 40)),
    GAP,
)


def announced(before, after):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            before()
            try:
                return function(
                    *args
                )
            finally:
                after()
        return wrapper
    return decorate


def nothing():
    return None


@contextlib.contextmanager
def nested(call):
    try:
        yield call
    finally:
        call()


@announced(
    before=nothing,
    after=nothing,
)
def innermost(
        first,
        second=None,
):
    os._exit(
        len(
            groundtruth
            .block()
        )
    )


def in_finally(call):
    try:
        return nothing()
    finally:
        with nested(
            call
        ) as given:
            given = (
                nothing() or
                given
            )


def in_except(call):
    try:
        raise LookupError(
            "on purpose"
        )
    except (
        KeyError,
        LookupError,
    ):
        return call(
        )


def in_loop(call):
    count = 0
    while (
        count < 3 and
        not (
            count == 2 and
            call()
        )
    ):
        count += 1


def in_comprehension(call):
    return [
        one
        for one in (
            call(),
        )
        if one
    ]


def in_arguments(call):
    return dict(
        first=nothing(),
        second=[
            nothing(),
            call(),
        ],
        third=nothing(),
    )


def in_subscript(call):
    return {
        None: 1,
    }[
        call(
        )
    ]


def backwards(call):
    return (lambda first, second: second)(
        nothing(), second=(
            call
        )(
            *[
            ]
        )
    )


def main():
    groundtruth.limit_life()
    in_finally(lambda: in_except(lambda: in_loop(
        lambda: in_comprehension(
            lambda: in_arguments(lambda:
                in_subscript(
                    lambda: backwards(lambda: far_away(
                        lambda: wide(lambda: innermost(
                            nothing(),
                        )),
                    )),
                ),
            ),
        ),
    )))


if __name__ == "__main__":
    main()
