"""Deep stacks whose middle changes all the time, and whose every possible stack is known.

    oracle_deep.py calls | mixed

    <module>, main, KIND -> stay x 9 -> turn -> zig or zag x 8 -> rise or sink x 8 -> tip_N

What lies above `turn` is there for some microseconds, then something else is in its
place of the data stack: the same function called from another line (`turn`), another
function whose frames are as large (`zag` for `zig`, `sink` for `rise`), or a recursion
whose levels differ by their lines only. In `mixed` C or a generator lies in between as
well. Each way through them ends in a tip of its own, so that no two stacks can be
joined to one that there is.

Ground truth as in oracle_stacks.py.
"""
import oracle_stacks

STAY = 8
STEPS = 7


def tip_1(x):
    return x ^ 1


def tip_2(x):
    return x ^ 2


def tip_3(x):
    return x ^ 3


def tip_4(x):
    return x ^ 4


def tip_5(x):
    return x ^ 5


def tip_6(x):
    return x ^ 6


def tip_7(x):
    return x ^ 7


def tip_8(x):
    return x ^ 8


def rise(n, way):
    if n:
        return rise(n - 1, way)
    if way == 1:
        return tip_1(way)
    if way == 2:
        return tip_2(way)
    if way == 3:
        return tip_3(way)
    return tip_4(way)


def sink(n, way):
    if n:
        return sink(n - 1, way)
    if way == 5:
        return tip_5(way)
    if way == 6:
        return tip_6(way)
    if way == 7:
        return tip_7(way)
    return tip_8(way)


def zig(n, lines, way):
    if n == 0:
        if way < 5:
            return rise(STEPS, way)
        return sink(STEPS, way)
    if lines & 1:
        return zig(n - 1, lines >> 1, way)
    return zig(n - 1, lines >> 1, way)


def zag(n, lines, way):
    if n == 0:
        if way < 5:
            return rise(STEPS, way)
        return sink(STEPS, way)
    if lines & 1:
        return zag(n - 1, lines >> 1, way)
    return zag(n - 1, lines >> 1, way)


def key_2(x):
    return zig(STEPS, 3, 2)


def key_7(x):
    return zag(STEPS, 96, 7)


def each_3(x):
    for way in x:
        yield zag(STEPS, 5, way)


def each_6(x):
    for way in x:
        yield zig(STEPS, 80, way)


def turn_calls(cycles):
    for _ in cycles:
        zig(STEPS, 0, 1)
        zig(STEPS, 127, 2)
        zag(STEPS, 85, 3)
        zag(STEPS, 42, 5)
        zig(STEPS, 15, 6)
        zag(STEPS, 112, 8)


def turn_mixed(cycles):
    for _ in cycles:
        zig(STEPS, 0, 1)
        max((1, 2), key=key_2)
        for x in each_3((3, 3)):
            pass
        zag(STEPS, 85, 4)
        zag(STEPS, 42, 5)
        sum(each_6((6, 6)))
        min((1, 2), key=key_7)
        zig(STEPS, 127, 8)


def stay(n, turn, cycles):
    if n:
        return stay(n - 1, turn, cycles)
    return turn(cycles)


def calls(cycles):
    stay(STAY, turn_calls, cycles)


def mixed(cycles):
    stay(STAY, turn_mixed, cycles)


if __name__ == "__main__":
    oracle_stacks.main((calls, mixed))
