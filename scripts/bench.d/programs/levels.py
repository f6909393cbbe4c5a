"""A stack of so many functions, each another one, that moves at its end."""

# Frames below the first level, on the main thread: the module, and main.
BELOW = 2

DOWN = """
def level_{0}(x):
    return level_{1}(x)
"""
# The leaf works for some microseconds and returns; who calls it does so some times and returns, too.
TOP = """
def level_{0}(x):
    while True:
        x = level_{1}(x)

def level_{1}(x):
    for _ in range(20):
        x = level_{2}(x)
    return x

def level_{2}(x):
    for i in range(40):
        x = (x * 3 + i) & 0xFFFF
    return x
"""


def tower(depth):
    """The first function of a tower that never returns, `depth` frames high with those below it."""
    names = list(range(1, depth - BELOW + 1))
    text = "".join(DOWN.format(a, b) for a, b in zip(names[:-3], names[1:]))
    scope = {}
    exec(compile(text + TOP.format(*names[-3:]), "levels", "exec"), scope)
    return scope["level_1"]
