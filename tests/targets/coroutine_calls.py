"""Coroutines and asynchronous generators that call each other, made anew all the time.

Their frames lie in objects of their own: in the data stack there is only who
has begun them, `await_all` or `iterate_all`, which hardly run themselves.

Ground truth: as in phases.py, of `await_all` and `iterate_all`, which have less
than a hundredth in frames of their own.
"""
import phases


async def fibonacci(n):
    if n <= 1:
        return n
    return await fibonacci(n - 1) + await fibonacci(n - 2)


class Tree(object):
    def __init__(self, depth):
        self.depth = depth
        self.left = Tree(depth - 1) if depth else None
        self.right = Tree(depth - 1) if depth else None

    async def __aiter__(self):
        if self.left:
            async for each in self.left:
                yield each
        yield self.depth
        if self.right:
            async for each in self.right:
                yield each


TREE = Tree(6)


async def all_of(tree):
    async for _ in tree:
        pass


def until_done(coroutine):
    try:
        while True:
            coroutine.send(None)
    except StopIteration:
        pass


def await_all(_):
    until_done(fibonacci(13))


def iterate_all(_):
    until_done(all_of(TREE))


if __name__ == "__main__":
    phases.main([await_all, iterate_all])
